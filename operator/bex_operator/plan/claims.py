"""Who may have which host: first come keeps it, over the whole cluster.

- A host belongs to one App. Who routes it already keeps it, else the oldest App that asks for it.
- A wildcard and a host that it covers may belong to two Apps of one namespace; the exact host is
  served before the wildcard. Across namespaces they exclude each other, first come again: nobody
  takes names from under a wildcard, nor puts one over the names of others. (OpenShift's router
  decides the same.)
- A parent gives no right to its children: `example.com` and `a.example.com` are two hosts.
- Hosts that the platform reserves belong to no App, and no wildcard may cover them; the base domain
  itself and a wildcard directly under it are reserved too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import hosts


@dataclass(frozen=True, slots=True)
class Platform:
    """What the platform keeps for itself and gives away, folded."""

    base_domain: str | None = None
    """Apps that ask to be exposed get a name under it."""
    reserved: frozenset[str] = frozenset()

    def reserves(self, host: str) -> bool:
        """Tell whether no App may have *host*."""
        base = self.base_domain
        if base is not None and host in {base, hosts.WILDCARD + base}:
            return True
        return any(hosts.overlap(host, each) for each in self.reserved)


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
    rivals: Sequence["Claim"] = ()
    """The other hosts of the zone, where a wildcard is among them all."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A host that the App does not get."""

    host: str
    winner: Claimant | None
    """Who has it; None if it is the platform's."""
    over: str
    """What the winner has: the host, or one that overlaps with it."""


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


def settle(uid: str, claims: Sequence[Claim], platform: Platform | None = None) -> Outcome:
    """Decide for the App with *uid* what it gets, in the order it asked."""
    granted: list[str] = []
    lost: list[Loss] = []
    for claim in claims:
        loss = _loss(uid, claim, platform or Platform())
        if loss is None:
            granted.append(claim.host)
        else:
            lost.append(loss)
    return Outcome(tuple(granted), tuple(lost))


def _loss(uid: str, claim: Claim, platform: Platform) -> Loss | None:
    if platform.reserves(claim.host):
        return Loss(claim.host, None, claim.host)
    own = next((each for each in claim.claimants if each.uid == uid), None)
    owners = _owners([claim, *claim.rivals], platform)
    owner = owners.get(claim.host)
    if owner is not None:
        return None if owner.uid == uid else Loss(claim.host, owner, claim.host)
    if own is None:
        return None
    over = next(_in_the_way(own, claim.host, owners))
    return Loss(claim.host, owners[over], over)


def _owners(claims: Sequence[Claim], platform: Platform) -> dict[str, Claimant]:
    """Give each host of a zone away, in the order of who comes first.

    Who routes a host already comes first: an older App that asks later must not take it.
    """
    ranked = sorted(
        (each.uid not in claim.holders, each, claim.host)
        for claim in claims
        for each in claim.claimants
        if not platform.reserves(claim.host)
    )
    owners: dict[str, Claimant] = {}
    for _, claimant, host in ranked:
        if host not in owners and next(_in_the_way(claimant, host, owners), None) is None:
            owners[host] = claimant
    return owners


def _in_the_way(claimant: Claimant, host: str, owners: Mapping[str, Claimant]) -> Iterator[str]:
    """Find hosts of other namespaces that overlap with *host*."""
    covering = hosts.wildcard_over(host)
    near = sorted(owners) if host == covering else [covering]
    for other in near:
        owner = owners.get(other)
        foreign = owner is not None and owner.namespace != claimant.namespace
        if foreign and hosts.overlap(host, other):
            yield other
