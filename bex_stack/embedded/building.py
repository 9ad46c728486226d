"""Builds one program into the cache: one at a time on the whole machine, atomically.

A build that is interrupted leaves nothing half done; Go's own cache holds what was compiled, so
the next try goes on from there.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bex_stack.embedded import binaries, build_progress, golang

BUILD_TIMEOUT_SECONDS = 1800
"""Per program: ten times the slowest on 2 cores would still fit."""
WAIT_TIMEOUT_SECONDS = 3600
POLL_SECONDS = 0.2


class _Turns:
    """Lets the threads of this process build one after another, the most urgent program first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._busy = False
        self._numbers = itertools.count()

    @contextmanager
    def take(self, urgency: int) -> Iterator[None]:
        """Wait for the turn; 0 is the most urgent."""
        ticket = (urgency, next(self._numbers))
        with self._changed:
            heapq.heappush(self._waiting, ticket)
            ready = self._changed.wait_for(
                lambda: not self._busy and self._waiting[0] == ticket, WAIT_TIMEOUT_SECONDS
            )
            self._waiting.remove(ticket)
            heapq.heapify(self._waiting)
            if not ready:
                raise golang.ToolchainError(
                    f"waited {WAIT_TIMEOUT_SECONDS} s for other builds of this command to end"
                )
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()


_turns = _Turns()


def build(
    binary: binaries.Binary,
    target: Path,
    *,
    find_go: Callable[[], golang.Go],
    lock: Path,
    progress: build_progress.Progress,
) -> None:
    """Make *target* unless somebody else did while this waited for its turn.

    Raises: ToolchainError.
    """
    with _turns.take(binaries.priority(binary)), _locked(lock, progress.note):
        if target.exists():
            return
        go = find_go()
        progress.started(binary.name, binary.seconds)
        before = time.monotonic()
        try:
            _compile(go, binary, target)
        except BaseException:
            progress.failed(binary.name)
            raise
        progress.finished(binary.name, time.monotonic() - before)


def _compile(go: golang.Go, binary: binaries.Binary, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    folder = binaries.TOOLS / binary.family
    arguments = [str(go.program), "build"]
    if binary.name in binaries.ON_DEMAND:
        # Whoever asks for these can do something else meanwhile, such as starting machines.
        arguments = ["nice", *arguments]
    if binary.tags:
        arguments += ["-tags", ",".join(binary.tags)]
    arguments += ["-ldflags", binaries.link_flags(binary, (folder / "go.mod").read_text())]
    env = go.environment(os.environ, cgo=binary.cgo, memory_gib=golang.memory_gib())
    try:
        with golang.working_in(target.with_name(f".{target.name}.work")) as work:
            output, failure = run(
                [*arguments, "-o", str(partial), binary.package], cwd=folder, env=env | work
            )
        if failure:
            again = [*arguments, "-o", "/dev/null", binary.package]
            raise golang.ToolchainError(
                f"{binary.name} could not be built: {failure}\n{golang.last_lines(output)}\n"
                "Repeat it with:\n  "
                + repeat_command(folder, go.settings(os.environ, cgo=binary.cgo), again)
            )
        _write_data(go, binary, target)
        partial.chmod(0o755)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _write_data(go: golang.Go, binary: binaries.Binary, target: Path) -> None:
    for data in binary.data:
        folder = binaries.TOOLS / binary.family
        output, failure = run(
            [str(go.program), "list", "-m", "-f", "{{.Dir}}", data.module],
            cwd=folder,
            env=go.environment(os.environ, cgo=False),
        )
        if failure:
            raise golang.ToolchainError(
                f"{data.module} is not in the module cache: {failure}\n{golang.last_lines(output)}"
            )
        texts = [(Path(output.strip()) / source).read_text() for source in data.sources]
        path = share_path(target, data.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n---\n".join(texts))


def share_path(program: Path, name: str) -> Path:
    """Return where the data file *name* of *program* lies."""
    return program.parents[1] / "share" / name


def repeat_command(folder: Path, settings: dict[str, str], command: list[str]) -> str:
    """Return one line for a shell that runs *command* as it was run here."""
    set_values = [f"{key}={shlex.quote(value)}" for key, value in settings.items()]
    return f"cd {shlex.quote(str(folder))} && env {' '.join(set_values)} {shlex.join(command)}"


def run(command: list[str], *, cwd: Path, env: dict[str, str]) -> tuple[str, str | None]:
    """Run a compiler; return what it printed and how it failed (None if it did not).

    The compiler dies with this process: a killed `bex up` leaves nothing running.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is not None:
        command = [setpriv, "--pdeathsig", "KILL", *command]
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=BUILD_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        return output, f"not done within {BUILD_TIMEOUT_SECONDS} s"
    except BaseException:
        process.kill()
        process.wait()
        raise
    return output, None if process.returncode == 0 else f"exit code {process.returncode}"


@contextmanager
def _locked(path: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock that all builders of one cache share; say so once if it takes waiting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        deadline = time.monotonic() + WAIT_TIMEOUT_SECONDS
        told = False
        while not _try_lock(file.fileno()):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            if not told:
                tell(f"waiting for another build in {path.parent} (process {holder})")
                told = True
            if time.monotonic() > deadline:
                raise golang.ToolchainError(
                    f"process {holder} has held {path} for {WAIT_TIMEOUT_SECONDS} s; "
                    "end it and run this again"
                )
            time.sleep(POLL_SECONDS)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
