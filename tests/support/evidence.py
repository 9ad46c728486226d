"""What a failed test shows: the last lines of the logs that were written while it ran."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

LINES = 25
LINE_LENGTH = 400
_folders: set[Path] = set()


def keep(folder: Path) -> Path:
    """Show the `*.log` files of *folder* with every test that fails; it may not exist yet."""
    _folders.add(folder)
    return folder


def tails(*more: Path, since: float = 0.0) -> list[tuple[str, str]]:
    """Title and last lines of every log written to after *since* (seconds of the epoch)."""
    logs = sorted({log for folder in {*_folders, *more} for log in folder.glob("*.log")})
    found = []
    for log in logs:
        with contextlib.suppress(OSError):  # gone meanwhile
            if log.stat().st_mtime >= since:
                found.append((f"end of {log}", _tail(log)))
    return [(title, text) for title, text in found if text]


def text(folder: Path) -> str:
    """The last lines of all logs of *folder*, for a message."""
    logs = sorted(folder.glob("*.log"))
    return "\n".join(f"--- end of {log}\n{_tail(log)}" for log in logs)


@contextlib.contextmanager
def noted(folder: Path) -> Iterator[None]:
    """Add the ends of the logs in *folder* to whatever is raised: the folder may go with it."""
    try:
        yield
    except Exception as exc:
        exc.add_note(text(folder))
        raise


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LINES:]
    return "\n".join(line[:LINE_LENGTH] for line in lines)
