"""What Hetzner's server types hold, and where its locations are; x86 only, as our images are.

Source: the public price list of Hetzner Cloud. Memory is what the machine reports, not what is
left for pods.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bex_operator.api import quantities, tiers


@dataclass(frozen=True, slots=True)
class ServerType:
    """One row of the price list."""

    cpus: int
    memory_gib: int
    disk_gib: int


TYPES: Mapping[str, ServerType] = {
    "cx23": ServerType(2, 4, 40),
    "cx33": ServerType(4, 8, 80),
    "cx43": ServerType(8, 16, 160),
    "cx53": ServerType(16, 32, 320),
    "cpx22": ServerType(2, 4, 80),
    "cpx32": ServerType(4, 8, 160),
    "cpx42": ServerType(8, 16, 320),
    "cpx52": ServerType(12, 24, 480),
    "cpx62": ServerType(16, 32, 640),
    "ccx13": ServerType(2, 8, 80),
    "ccx23": ServerType(4, 16, 160),
    "ccx33": ServerType(8, 32, 240),
    "ccx43": ServerType(16, 64, 360),
    "ccx53": ServerType(32, 128, 600),
    "ccx63": ServerType(48, 192, 960),
}

NETWORK_ZONES: Mapping[str, str] = {
    "fsn1": "eu-central",
    "nbg1": "eu-central",
    "hel1": "eu-central",
    "ash": "us-east",
    "hil": "us-west",
    "sin": "ap-southeast",
}
"""Network zone of each location; a private network lies in one."""

RESERVED_GIB = 1.0
"""Memory of a machine that no App gets: kernel, kubelet and runtime (about 0.5 GiB on 8), and the
pods every machine runs."""


def check(name: str) -> str:
    """Return *name* if it is a type we know.

    Raises:
        ValueError: it is none.
    """
    if name not in TYPES:
        raise ValueError(f"{name!r} is no x86 server type; there are {', '.join(TYPES)}")
    return name


def check_holds(name: str, tier: str) -> None:
    """Refuse a type on which not even one replica of *tier* fits.

    Raises:
        ValueError: naming type, tier and both sizes.
    """
    _, memory = tiers.SIZES[tier]
    wanted = quantities.bytes_of(memory) / 1024**3
    offered = TYPES[name].memory_gib - RESERVED_GIB
    if wanted > offered:
        raise ValueError(
            f"bex:workerServerType {name} leaves {offered:g} GiB for apps, and one replica of "
            f"bex:largestTier {tier} takes {wanted:g} GiB"
        )
