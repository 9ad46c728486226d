"""Kubernetes quantities of CPU and memory, in the forms an App may use."""

import re
from decimal import Decimal

CPU_REGEX = r"[0-9]{1,6}m|[0-9]{1,4}(\.[0-9]{1,3})?"
MEMORY_REGEX = r"[0-9]{1,12}([kMGT]|[KMGT]i)?"

_SUFFIXES = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def millicores(text: str) -> int:
    """Read CPU: `250m` or `0.25`."""
    return int(text[:-1]) if text.endswith("m") else int(Decimal(text) * 1000)


def bytes_of(text: str) -> int:
    """Read memory: `512Mi`, `1G`, `1000`."""
    number, suffix = re.fullmatch(r"([0-9]+)(\D*)", text).groups()  # type: ignore[union-attr]
    return int(number) * _SUFFIXES[suffix]


def cpu(text: str) -> str:
    """Write CPU as the API server does, so that what is stored equals what was sent."""
    milli = millicores(text)
    return f"{milli}m" if milli % 1000 else str(milli // 1000)


def memory(text: str) -> str:
    """Write memory as the API server does: the largest suffix of the same base without a rest."""
    number, suffix = re.fullmatch(r"([0-9]+)(\D*)", text).groups()  # type: ignore[union-attr]
    base = 1024 if suffix.endswith("i") else 1000
    steps = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei") if base == 1024 else ("", *"kMGTPE")
    value, step = int(number), steps.index(suffix)
    while value and value % base == 0 and step + 1 < len(steps):
        value, step = value // base, step + 1
    return f"{value}{steps[step]}" if value else "0"
