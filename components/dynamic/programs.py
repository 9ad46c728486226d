"""Runs the programs that dynamic providers need: pinned, with a deadline, secrets out of sight."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from components import pins

ERROR_LINES = 12


class ProgramError(RuntimeError):
    """A program is missing, failed, or took too long; the message has what it printed."""


def find(name: str) -> str:
    """Return where *name* is: the one built from the pinned modules, else the one on PATH.

    Raises:
        ProgramError: there is none.
    """
    built = folder() / name
    found = str(built) if built.is_file() else shutil.which(name)
    if found is None:
        hint = "make cluster-api" if name in {p.name for p in pins.PROGRAMS} else "install it"
        raise ProgramError(f"{name} is neither in {folder()} nor on PATH; mend it with: {hint}")
    return found


def folder() -> Path:
    """Return where `make cluster-api` puts what it builds."""
    cache = os.environ.get("BEX_CACHE")
    root = Path(cache) if cache else Path.home() / ".cache" / "bex"
    return root / "cluster-api" / pins.CLUSTER_API / "bin"


def run(
    command: Sequence[str],
    *,
    timeout_seconds: float,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
) -> str:
    """Run a program from `find` and return what it printed.

    Raises:
        ProgramError: it failed or took longer than *timeout_seconds*.
    """
    try:
        done = subprocess.run(
            [find(command[0]), *command[1:]],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            env={**os.environ, **(env or {})},
        )
    except subprocess.TimeoutExpired as late:
        raise ProgramError(
            f"{' '.join(command[:3])} did not end within {timeout_seconds:g} s"
        ) from late
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-ERROR_LINES:])
        raise ProgramError(f"{' '.join(command[:3])} failed ({done.returncode}):\n{said}")
    return done.stdout


@contextlib.contextmanager
def private_file(text: str, name: str = "file") -> Iterator[Path]:
    """Keep *text* in a file that only this user reads, as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="bex-") as made:  # made with mode 0700
        file = Path(made) / name
        file.touch(mode=0o600)
        file.write_text(text)
        yield file


def wait(
    what: str,
    ask: Callable[[], str | None],
    *,
    timeout_seconds: float,
    pause_seconds: float = 2.0,
) -> str:
    """Ask until there is an answer.

    Raises:
        ProgramError: naming *what* was waited for and the last failure.
    """
    deadline, last = time.monotonic() + timeout_seconds, ""
    while True:
        try:
            if answer := ask():
                return answer
        except ProgramError as failed:
            last = f"; last: {failed}"
        if time.monotonic() > deadline:
            raise ProgramError(f"waited {timeout_seconds:g} s for {what}{last}")
        time.sleep(pause_seconds)
