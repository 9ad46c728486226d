"""Files of an instance: private, written in one step, and only when they differ."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700


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


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file *path*: one process or thread at a time goes on, the others wait.

    What is done inside takes seconds at most, so the wait has no limit of its own.
    """
    path.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
