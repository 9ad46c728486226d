"""In which order what belongs to a deleted App goes: routes first, so no request meets a ruin;
then certificates, which nobody needs any more (cert-manager lets their Secrets go with them);
records of releases last, so that nothing runs of which nobody knows what it is.

Nothing is forced. What does not go within `STALL_SECONDS` of the App's deletion is told in the
condition DeletionStalled, and asked for again at ease.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import conditions, names, status

STAGES: tuple[tuple[str, ...], ...] = (
    ("Ingress",),
    ("Certificate",),
    ("Deployment", "Job", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Service"),
    ("ControllerRevision",),
)
STALL_SECONDS = 900.0
STALLED_RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """What to delete now."""

    delete: tuple[Mapping[str, Any], ...]
    """Objects to ask for; each is to be deleted by its UID."""
    waits: tuple[Mapping[str, Any], ...]
    """Those on their way out already."""
    built: tuple[str, ...] = ()
    """What builds left and is still there, for people."""

    @property
    def done(self) -> bool:
        """Nothing is left, the finalizer can go."""
        return not (self.delete or self.waits or self.built)


def next_step(owned: Sequence[Mapping[str, Any]]) -> Step:
    """Choose the first stage that still has something; wait for what is already on its way."""
    for stage in STAGES:
        left = [child for child in owned if child["kind"] in stage]
        if left:
            waits = tuple(child for child in left if "deletionTimestamp" in child["metadata"])
            return Step(tuple(child for child in left if child not in waits), waits)
    return Step((), ())


def patience_seconds(manifest: Mapping[str, Any], *, now: datetime.datetime) -> float:
    """How long the deleted App may still take before it counts as stalled; not above 0 if it is."""
    since = datetime.datetime.fromisoformat(manifest["metadata"]["deletionTimestamp"])
    return STALL_SECONDS - (now - since).total_seconds()


def stalled(
    manifest: Mapping[str, Any],
    before: status.AppStatus | None,
    step: Step,
    failure: str,
    *,
    now: str,
) -> status.AppStatus:
    """Report a deletion that does not get on; *failure* is what the last try met, or empty.

    *now* is RFC 3339 in UTC, whole seconds.
    """
    generation = int(manifest["metadata"].get("generation", 0))
    was = before or status.AppStatus(phase="Pending", observed_generation=generation)
    message = "; ".join(
        [
            *(_waiting(child) for child in step.waits),
            *(f"{each} is still there" for each in step.built),
            *([failure[:300]] if failure else []),
        ]
    )
    fact = conditions.Fact(conditions.DELETION_STALLED, True, "NotGoneInTime", message)
    kept = [each for each in was.conditions if each.type != fact.type]
    found = conditions.merge(was.conditions, [fact], generation=generation, now=now)
    return was.model_copy(update={"conditions": (*kept, *found)})


def _waiting(child: Mapping[str, Any]) -> str:
    what = f"{child['kind']} {child['metadata']['name']!r}"
    held = ", ".join(child["metadata"].get("finalizers") or [])
    return f"{what} waits for its finalizers: {held}" if held else f"{what} is still there"


def without_finalizer(finalizers: Sequence[str]) -> list[str]:
    """Return the finalizers of others."""
    return [each for each in finalizers if each != names.FINALIZER]
