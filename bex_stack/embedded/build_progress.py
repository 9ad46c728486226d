"""Shows how far the builds are: a bar per program on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich import console as consoles
from rich import progress as bars


class Progress(Protocol):
    """What a build reports; called from several threads."""

    def started(self, name: str, typical_seconds: float) -> None:
        """*name* is being built now; it usually takes *typical_seconds* on a cold machine."""

    def finished(self, name: str, seconds: float) -> None:
        """*name* was built in *seconds*."""

    def failed(self, name: str) -> None:
        """*name* could not be built; the exception says why."""

    def note(self, line: str) -> None:
        """Something else worth a line, such as whom a build waits for."""


class Plain:
    """One line when a build starts and one when it ends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def started(self, name: str, typical_seconds: float) -> None:
        """Say what is being built and how long it may take."""
        self._say(f"building {name}, about {typical_seconds:.0f} s on 2 idle cores")

    def finished(self, name: str, seconds: float) -> None:
        """Say how long it took."""
        self._say(f"built {name} in {seconds:.0f} s")

    def failed(self, name: str) -> None:
        """Say so; the reason follows as the error."""
        self._say(f"{name} was not built")

    def note(self, line: str) -> None:
        """Say it."""
        self._say(line)

    def _say(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()


class Bars:
    """A bar per program with the time gone by; what is done stays on the screen as a line."""

    def __init__(self, shown: bars.Progress) -> None:
        self._shown = shown
        self._tasks: dict[str, bars.TaskID] = {}
        self._lock = threading.Lock()

    def started(self, name: str, typical_seconds: float) -> None:
        """Add the bar; it moves with the clock, for a compiler does not tell how far it is."""
        with self._lock:
            self._tasks[name] = self._shown.add_task(f"building {name}", total=typical_seconds)

    def finished(self, name: str, seconds: float) -> None:
        """Replace the bar by a line."""
        self._close(name)
        self._shown.console.print(f"built {name} in {seconds:.0f} s", highlight=False)

    def failed(self, name: str) -> None:
        """Take the bar away."""
        self._close(name)

    def note(self, line: str) -> None:
        """Print it above the bars."""
        self._shown.console.print(line, highlight=False)

    def move(self) -> None:
        """Let every bar follow the clock, up to 95 % however long it takes."""
        for task in self._shown.tasks:
            if task.total and not task.finished:
                gone = min(task.elapsed or 0.0, 0.95 * task.total)
                self._shown.update(task.id, completed=gone)

    def _close(self, name: str) -> None:
        with self._lock:
            task = self._tasks.pop(name, None)
        if task is not None:
            self._shown.remove_task(task)


@contextmanager
def on(out: TextIO | None = None) -> Iterator[Progress]:
    """Yield the progress that fits *out* (standard error if None)."""
    stream = sys.stderr if out is None else out
    console = consoles.Console(file=stream)
    if not console.is_terminal:
        yield Plain(stream)
        return
    columns = (
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=console, transient=True) as shown:
        drawn = Bars(shown)
        stop = threading.Event()
        mover = threading.Thread(target=_follow_clock, args=(drawn, stop), daemon=True)
        mover.start()
        try:
            yield drawn
        finally:
            stop.set()
            mover.join()


def _follow_clock(drawn: Bars, stop: threading.Event) -> None:
    while not stop.wait(0.25):
        drawn.move()
