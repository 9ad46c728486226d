"""Writes the edge's files so that a reader finds the old or the new content, never half of it."""

import contextlib
import os
import tempfile
from pathlib import Path


def write(path: Path, content: str) -> None:
    """Replace the file's content at once; mode 0600."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
