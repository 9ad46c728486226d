"""Who may have which host: first come keeps it, over the whole cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Claimant:
    """An App that asks for a host; the smallest came first."""

    created: str
    """RFC 3339 in UTC, so that text order is time order."""
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Everything known about one host."""

    host: str
    claimants: Sequence[Claimant]
    """Apps that ask for it and are not being deleted."""
    holders: frozenset[str]
    """UIDs of Apps that already route it."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A host that another App has."""

    host: str
    winner: Claimant


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one App gets of what it asked for."""

    granted: tuple[str, ...]
    lost: tuple[Loss, ...]


def claimant_of(manifest: Mapping[str, Any]) -> Claimant:
    """Read an App object as a claimant."""
    metadata = manifest["metadata"]
    return Claimant(
        metadata.get("creationTimestamp", ""),
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
    )


def settle(uid: str, claims: Sequence[Claim]) -> Outcome:
    """Decide for the App with *uid* what it gets, in the order it asked."""
    granted: list[str] = []
    lost: list[Loss] = []
    for claim in claims:
        winner = _winner(claim)
        if winner is None or winner.uid == uid:
            granted.append(claim.host)
        else:
            lost.append(Loss(claim.host, winner))
    return Outcome(tuple(granted), tuple(lost))


def _winner(claim: Claim) -> Claimant | None:
    """Who routes the host already comes first: an older App that asks later must not take it."""
    ranked = sorted(claim.claimants, key=lambda each: (each.uid not in claim.holders, each))
    return ranked[0] if ranked else None
