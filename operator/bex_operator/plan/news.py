"""What is worth telling as an Event: a change of an App's phase or of why it is not ready."""

from dataclasses import dataclass

from bex_operator.api import conditions, status

_CALM = frozenset(
    {"Deployed", "Restarting", "RolloutProgressing", "Scaling", "Suspended", "ScaledToZero"}
)
_NOTE_LIMIT = 1000  # the API allows 1 KiB


@dataclass(frozen=True, slots=True)
class News:
    """One Event to record."""

    warning: bool
    reason: str
    action: str
    note: str


def between(before: status.AppStatus | None, after: status.AppStatus) -> News | None:
    """Tell what changed; None if it is nothing a person would want to know.

    A new App's first calm report is no news: that it was made is known.
    """
    ready = conditions.find(after.conditions, conditions.READY)
    if ready is None:
        return None
    was = conditions.find(before.conditions, conditions.READY) if before else None
    same = before is not None and before.phase == after.phase
    if same and was is not None and was.reason == ready.reason:
        return None
    warning = ready.reason not in _CALM
    if before is None and not warning:
        return None
    note = f"{after.phase}: {ready.message}"
    if ready.status == "True" and after.active_revision:
        note = f"{after.active_revision} serves, {ready.message}"
    return News(warning, ready.reason, "Reconcile", note[:_NOTE_LIMIT])
