"""In which order what belongs to a deleted App goes: routes first, so no request meets a ruin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STAGES: tuple[tuple[str, ...], ...] = (
    ("Ingress",),
    ("Deployment", "PodDisruptionBudget", "Service"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """What to delete now."""

    delete: tuple[Mapping[str, Any], ...]
    """Objects to ask for; each is to be deleted by its UID."""
    done: bool
    """Nothing is left, the finalizer can go."""


def next_step(owned: Sequence[Mapping[str, Any]]) -> Step:
    """Choose the first stage that still has something; wait for what is already on its way."""
    for stage in STAGES:
        left = [child for child in owned if child["kind"] in stage]
        if left:
            fresh = [child for child in left if "deletionTimestamp" not in child["metadata"]]
            return Step(tuple(fresh), done=False)
    return Step((), done=True)
