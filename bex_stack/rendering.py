"""Shows a run as it happens: one line per resource with its state and time."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich import console as consoles
from rich import live, markup, spinner, table, text

from bex_stack.engine import events

SIGNS = {
    events.Operation.CREATE: ("+", "green"),
    events.Operation.UPDATE: ("~", "yellow"),
    events.Operation.REPLACE: ("+-", "magenta"),
    events.Operation.DELETE: ("-", "red"),
    events.Operation.READ: (">", "cyan"),
    events.Operation.REFRESH: ("~", "cyan"),
    events.Operation.SAME: (" ", "dim"),
}
PAST = {
    events.Operation.CREATE: "created",
    events.Operation.UPDATE: "updated",
    events.Operation.REPLACE: "replaced",
    events.Operation.DELETE: "deleted",
    events.Operation.READ: "read",
    events.Operation.REFRESH: "refreshed",
    events.Operation.SAME: "unchanged",
}
SHOWN_CHANGES = 12
"""Changed paths printed per resource; more are counted."""
QUIET_SECONDS = 15.0
"""Without a terminal, what is waited for is said this often per resource."""


class RunView:
    """Draws events; safe to call from the engine's worker threads."""

    def __init__(self, console: consoles.Console, *, is_preview: bool = False) -> None:
        self._console = console
        self._is_preview = is_preview
        self._lock = threading.Lock()
        self._running: dict[str, tuple[events.Started, float, str]] = {}
        self._said: dict[str, float] = {}
        self._live: live.Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw resources in flight below the finished ones, where there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with live.Live(
            get_renderable=self._in_flight, console=self._console, transient=True
        ) as drawing:
            self._live = drawing
            try:
                yield
            finally:
                self._live = None

    def listen(self, event: events.Event) -> None:
        """Take one event of the engine."""
        with self._lock:
            self._take(event)

    def _take(self, event: events.Event) -> None:
        match event:
            case events.Started():
                self._running[event.urn] = (event, time.monotonic(), "")
            case events.Progress():
                self._progress(event)
            case events.Done():
                self._running.pop(event.urn, None)
                if event.operation is not events.Operation.SAME:
                    self._print_done(event)
            case events.Failed():
                self._running.pop(event.urn, None)
                self._console.print(
                    f"[red]✗ {event.name}[/red] [dim]{event.type}[/dim]"
                    f" {event.operation} failed after {event.seconds:.1f} s"
                )
            case events.Diagnostic():
                self._print_diagnostic(event)

    def _progress(self, event: events.Progress) -> None:
        started, since, _ = self._running.get(
            event.urn,
            (events.Started(event.urn, event.type, event.name, event.operation), 0.0, ""),
        )
        self._running[event.urn] = (started, since or time.monotonic(), event.message)
        if self._live is None and event.seconds - self._said.get(event.urn, 0) >= QUIET_SECONDS:
            self._said[event.urn] = event.seconds
            self._console.print(
                f"  {event.name}: {markup.escape(event.message)} ({event.seconds:.0f} s)"
            )

    def _print_done(self, event: events.Done) -> None:
        sign, colour = SIGNS[event.operation]
        verb = f"would be {PAST[event.operation]}" if self._is_preview else PAST[event.operation]
        seconds = "" if self._is_preview else f" [dim]({event.seconds:.1f} s)[/dim]"
        self._console.print(
            f"[{colour}]{sign:>2} {event.name}[/{colour}] [dim]{event.type}[/dim] {verb}{seconds}",
            soft_wrap=True,
        )
        reasons = set(event.replace_reasons)
        for change in event.changes[:SHOWN_CHANGES]:
            self._console.print(_change_line(change, change.path in reasons), soft_wrap=True)
        for note in event.notes:
            self._console.print(f"      [yellow]~ {markup.escape(note)}[/yellow]", soft_wrap=True)
        if len(event.changes) > SHOWN_CHANGES:
            self._console.print(f"      … and {len(event.changes) - SHOWN_CHANGES} more")

    def _print_diagnostic(self, event: events.Diagnostic) -> None:
        colour = {"warning": "yellow", "error": "red", "debug": "dim"}.get(event.severity, "cyan")
        if event.severity != "debug":
            self._console.print(
                f"[{colour}]{event.severity}:[/{colour}] {markup.escape(event.message)}",
                soft_wrap=True,
            )

    def _in_flight(self) -> table.Table:
        drawn = table.Table.grid(padding=(0, 1))
        now = time.monotonic()
        for started, since, message in list(self._running.values()):
            waits = text.Text(message or f"{started.operation}…", style="dim")
            elapsed = text.Text(f"{now - since:5.1f} s", style="dim")
            drawn.add_row(spinner.Spinner("dots"), started.name, elapsed, waits)
        return drawn


def summary(changes: Mapping[str, int], seconds: float) -> str:
    """Say in one line what a run did."""
    counted = [
        f"{count} {PAST[events.Operation(operation)]}"
        for operation, count in sorted(changes.items())
        if count
    ]
    return f"{', '.join(counted) or 'nothing to do'} in {seconds:.1f} s"


def _change_line(change: events.Change, is_reason: bool) -> str:
    old, new = _short(change.old), _short(change.new)
    why = " [magenta](forces replacement)[/magenta]" if is_reason else ""
    if change.kind.startswith("add"):
        return f"      [green]+ {change.path}: {new}[/green]{why}"
    if change.kind.startswith("delete"):
        return f"      [red]- {change.path}: {old}[/red]{why}"
    return f"      [yellow]~ {change.path}: {old} → {new}[/yellow]{why}"


def _short(value: Any) -> str:
    shown = repr(value)
    return markup.escape(shown if len(shown) <= 60 else f"{shown[:57]}…")
