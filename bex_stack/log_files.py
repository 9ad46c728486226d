"""Reads the logs that the supervisor keeps, one file per process."""

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from bex_stack import errors

POLL_SECONDS = 0.5


def read(folder: Path, component: str, *, lines: int, follow: bool) -> Iterator[str]:
    """Yield the last *lines* of a component's log, then new ones for as long as *follow* says.

    Raises:
        errors.StackError: no such component; the message lists those that have a log.
    """
    file = folder / f"{component}.log"
    if not file.is_file():
        known = ", ".join(sorted(f.stem for f in folder.glob("*.log"))) or "none yet"
        raise errors.StackError(f"there is no log of {component!r} (components: {known})")
    with file.open(errors="replace") as opened:
        yield from deque(opened, maxlen=lines)
        while follow:
            line = opened.readline()
            if line:
                yield line
            elif _was_rotated(file, opened.tell()):
                opened.seek(0)
            else:
                time.sleep(POLL_SECONDS)


def _was_rotated(file: Path, position: int) -> bool:
    return file.exists() and file.stat().st_size < position
