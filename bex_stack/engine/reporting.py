"""Tells the listener what happens and counts it; makes values fit for people's eyes."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from bex_stack.engine import differences, errors, events, paths, state, urns, values
from bex_stack.engine.decisions import Decision
from bex_stack.engine.events import Operation

SAME = Decision(Operation.SAME)


class Reporter:
    """One run's events, counts and failures. Safe to call from every thread."""

    def __init__(self, listener: events.Listener | None) -> None:
        self._listener = listener or (lambda _: None)
        # Re-entrant: a signal handler reports, too, perhaps in the middle of another report.
        self._lock = threading.RLock()
        self._counts: Counter[str] = Counter()
        self._failures: list[events.Failure] = []
        self.diagnostics: list[events.Diagnostic] = []

    @property
    def counts(self) -> dict[str, int]:
        """Steps done, by operation."""
        return dict(self._counts)

    @property
    def failures(self) -> tuple[events.Failure, ...]:
        """What went wrong."""
        return tuple(self._failures)

    def say(self, message: str, *, severity: str = "info", urn: str = "") -> None:
        """Report a diagnostic."""
        diagnostic = events.Diagnostic(severity, message, urn)
        if severity != "debug":
            self.diagnostics.append(diagnostic)
        self._emit(diagnostic)

    def fail(self, urn: str, message: str) -> None:
        """Record a failure, once."""
        failure = events.Failure(urn, message)
        with self._lock:
            if failure not in self._failures:
                self._failures.append(failure)

    @contextlib.contextmanager
    def step(self, resource: state.Resource, decision: Decision) -> Iterator["Step"]:
        """Report one resource's step for the length of the block.

        An EngineError inside becomes ResourceFailed naming the resource.
        """
        step = Step(self, resource, decision)
        hidden = is_internal(resource)
        if not hidden and decision.operation is not Operation.SAME:
            self._emit(
                events.Started(*step.identity, step.changes, decision.reasons, decision.notes)
            )
        try:
            yield step
        except errors.Interrupted:
            raise
        except errors.EngineError as exc:
            self._emit(events.Failed(*step.identity, step.seconds, str(exc)))
            failure = errors.ResourceFailed(resource.urn, decision.operation.value, str(exc))
            self.fail(resource.urn, str(exc))
            raise failure from exc
        if hidden:
            return
        with self._lock:
            self.diagnostics += [
                events.Diagnostic("info", note, resource.urn) for note in decision.notes
            ]
            self._counts[decision.operation.value] += 1
        told = (step.changes, decision.reasons, decision.notes)
        self._emit(events.Done(*step.identity, step.seconds, *told))

    def _emit(self, event: events.Event) -> None:
        with self._lock:
            try:
                self._listener(event)
            except OSError:
                # Nobody reads any more (a closed pipe); the run itself goes on to a clean end.
                self._listener = lambda _: None


class Step:
    """One step under way."""

    def __init__(self, reporter: Reporter, resource: state.Resource, decision: Decision) -> None:
        self._reporter = reporter
        self._start = time.monotonic()
        self.identity = (
            resource.urn,
            resource.type,
            urns.name_of(resource.urn),
            decision.operation,
        )
        self.changes = visible_changes(decision.details)

    @property
    def seconds(self) -> float:
        """How long the step has been running."""
        return time.monotonic() - self._start

    def add_changes(self, planned: tuple[differences.Difference, ...]) -> None:
        """Let Done report also what the server would change besides the inputs."""
        known = {each.path for each in self.changes}
        more = [each for each in visible_changes(planned) if each.path not in known]
        self.changes = (*self.changes, *more)

    def progress(self, message: str) -> None:
        """Report what the step waits for."""
        self._reporter._emit(events.Progress(*self.identity, message, self.seconds))


def is_internal(resource: state.Resource) -> bool:
    """Say whether a resource is the engine's own: a default provider."""
    return urns.is_default_provider(resource.urn)


def visible_changes(details: tuple[differences.Difference, ...]) -> tuple[events.Change, ...]:
    """Return differences with secrets masked and unknowns named."""
    return tuple(
        events.Change(
            paths.render(each.path), each.kind.value, visible(each.old), visible(each.new)
        )
        for each in details
    )


def visible(value: Any) -> Any:
    """Return a value with secrets masked and unknowns named; a missing one is None."""
    if value is paths.MISSING:
        return None
    return values.rewrite(
        values.mask(value), lambda each: "[unknown]" if values.is_unknown(each) else each
    )
