"""Types and reasons of an App's conditions, and how a list of them changes. Pure.

Ready        every wanted replica of the newest revision serves
Released     the newest revision is the one that serves
Progressing  something is still on its way without anyone's help
Routed       the App's hosts lead to it
HostsClaimed every host the App asks for is its own
Certified    every host has its certificate; told only where certificates are kept for each
Degraded     it serves, but with less than was asked for
IdleSleep    the App sleeps when nobody asks for it; told only where that is asked for
DeletionStalled  something that the deleted App owns does not go
"""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bex_operator.api import status

READY = "Ready"
RELEASED = "Released"
PROGRESSING = "Progressing"
ROUTED = "Routed"
HOSTS_CLAIMED = "HostsClaimed"
CERTIFIED = "Certified"
DEGRADED = "Degraded"
IDLE_SLEEP = "IdleSleep"
DELETION_STALLED = "DeletionStalled"

MESSAGE_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Fact:
    """A condition without its history."""

    type: str
    holds: bool
    reason: str
    message: str


def merge(
    before: Iterable[status.Condition], facts: Iterable[Fact], *, generation: int, now: str
) -> tuple[status.Condition, ...]:
    """Return the conditions for *facts*; the transition time moves only with the status.

    *now* is RFC 3339 in UTC, whole seconds.
    """
    old = {condition.type: condition for condition in before}
    return tuple(_condition(fact, old.get(fact.type), generation, now) for fact in facts)


def time_text(now: datetime.datetime) -> str:
    """Write a time as the API server does."""
    return now.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def find(conditions: Iterable[status.Condition], wanted: str) -> status.Condition | None:
    """Return the condition of type *wanted*."""
    return next((each for each in conditions if each.type == wanted), None)


def _condition(
    fact: Fact, before: status.Condition | None, generation: int, now: str
) -> status.Condition:
    truth: Literal["True", "False"] = "True" if fact.holds else "False"
    message = fact.message[:MESSAGE_LIMIT]
    if before is not None and before.status == truth:
        now = before.last_transition_time
        said = (before.reason, before.message, before.observed_generation)
        if said == (fact.reason, message, generation):
            return before
    return status.Condition(
        type=fact.type,
        status=truth,
        reason=fact.reason,
        message=message,
        observed_generation=generation,
        last_transition_time=now,
    )
