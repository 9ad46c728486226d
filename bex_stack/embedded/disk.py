"""Files of an instance: private, written in one step, and only when they differ."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700
LOCK_SECONDS = 120.0
"""What is done under a lock takes seconds; stopping many processes takes longest."""
LOCK_POLL_SECONDS = 0.01


def ensure_dir(path: Path) -> Path:
    """Make *path*, readable by its owner only; parents that exist keep their mode."""
    path.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    path.chmod(PRIVATE_DIR)
    return path


def ensure_file(path: Path, content: str | bytes, *, mode: int = PRIVATE_FILE) -> bool:
    """Let *path* hold *content*, readable by its owner only; tell whether it changed.

    A reader sees the old content or the new one, also after a crash.
    """
    data = content.encode() if isinstance(content, str) else content
    if read(path) == data:
        path.chmod(mode)
        return False
    path.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


def read(path: Path) -> bytes | None:
    """Content of *path*, or None where there is no such file."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


class LockTimeout(RuntimeError):
    """Another process held a lock for far longer than its work takes."""


@contextmanager
def locked(path: Path, *, timeout_seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock file *path*: one process or thread at a time goes on, the others wait.

    Raises: LockTimeout.
    """
    path.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        end = time.monotonic() + timeout_seconds
        while not _try_lock(handle):
            if time.monotonic() > end:
                raise LockTimeout(
                    f"another bex held {path} for {timeout_seconds:.0f} s; see who: fuser {path}"
                )
            time.sleep(LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
