"""Processes of an instance that run without its supervisord: found by their environment, ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from bex_stack.embedded import instance as instances
from bex_stack.embedded import processes

PROC = Path("/proc")


class NotEnded(RuntimeError):
    """Processes survived a KILL for longer than the caller would wait."""


def find(name: str) -> list[int]:
    """Ids of all processes that carry the marker of instance *name*, children of them included."""
    marks = _marks(name)
    numbered = [entry for entry in PROC.iterdir() if entry.name.isdecimal()]
    found = [int(entry.name) for entry in numbered if _carries(entry, marks)]
    return sorted(pid for pid in found if pid != os.getpid())


def elsewhere(name: str, folder: Path) -> Path | None:
    """Folder of a running instance of that *name* that is not *folder*: another BEX_HOME's.

    Where the folder is gone, what runs belongs to nobody any more.
    """
    mark = f"{instances.FOLDER_MARKER}=".encode()
    for pid in find(name):
        for variable in _environment(PROC / str(pid)):
            if variable.startswith(mark):
                found = Path(os.fsdecode(variable.removeprefix(mark)))
                if found.is_dir() and found.resolve() != folder.resolve():
                    return found
    return None


def kill(name: str, *, timeout_seconds: float = 60.0) -> list[int]:
    """End every process of instance *name*, new ones too; return the ids that were ended.

    Raises: NotEnded.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + timeout_seconds
    while running := [pid for pid in find(name) if not _is_ending(pid)]:
        if time.monotonic() > deadline:
            raise NotEnded(
                f"processes {running} of instance {name!r} still run {timeout_seconds:.0f} s "
                "after SIGKILL"
            )
        for pid in running:
            _kill(pid, name)
        ended.update(running)
        time.sleep(0.05)
    return sorted(ended)


def _kill(pid: int, name: str) -> None:
    """Send KILL to *pid* if it still is that process: the handle cannot be reused, ids can."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _carries(PROC / str(pid), _marks(name)):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _marks(name: str) -> set[bytes]:
    return {f"{instances.MARKER}={name}".encode(), f"{processes.SUPERVISED}=1".encode()}


def _carries(entry: Path, marks: set[bytes]) -> bool:
    return marks.issubset(_environment(entry))


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:  # gone meanwhile, a kernel thread, or another user's
        return []


def _is_ending(pid: int) -> bool:
    """A zombie waits for its parent only; it holds no namespace and no file any more."""
    try:
        status = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] in ("Z", "X")
