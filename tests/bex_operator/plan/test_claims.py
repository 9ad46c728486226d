"""Who may have a host."""

import dataclasses
import itertools

import hypothesis
import pytest
from hypothesis import strategies as st

from bex_operator.api import hosts as hosts_api
from bex_operator.plan import claims

OLD = claims.Claimant("2026-01-01T00:00:00Z", "ns", "old", "uid-old")
NEW = claims.Claimant("2026-01-02T00:00:00Z", "ns", "new", "uid-new")
TWIN = claims.Claimant("2026-01-01T00:00:00Z", "ns", "twin", "uid-twin")


def winner(*claimants: claims.Claimant, holders: frozenset[str] = frozenset()) -> str:
    """Name of the one Claimant that is granted the host."""
    claim = claims.Claim("a.b", claimants, holders)
    (found,) = [each for each in claimants if claims.settle(each.uid, [claim]).granted]
    return found.name


def test_first_come_wins_in_whatever_order_they_are_seen() -> None:
    """Age decides among those who do not route the host, the name among twins."""
    for order in itertools.permutations([OLD, NEW, TWIN]):
        assert winner(*order) == "old"


def test_who_routes_the_host_keeps_it() -> None:
    """An older App that asks later does not take it."""
    assert winner(OLD, NEW, holders=frozenset({"uid-new"})) == "new"


def test_holder_that_no_longer_asks_does_not_count() -> None:
    """A host is free once nobody asks for it who has it."""
    assert winner(NEW, holders=frozenset({"uid-old"})) == "new"


def test_loser_learns_the_winner_and_keeps_the_rest() -> None:
    """Each host is decided by itself, and the order of those granted stays."""
    free, taken = (
        claims.Claim("c.d", [NEW], frozenset()),
        claims.Claim("a.b", [NEW, OLD], frozenset()),
    )

    outcome = claims.settle("uid-new", [taken, free])

    assert outcome == claims.Outcome(("c.d",), (claims.Loss("a.b", OLD, "a.b"),))


FAR = claims.Claimant("2026-01-03T00:00:00Z", "other", "far", "uid-far")
FARTHER = claims.Claimant("2026-01-04T00:00:00Z", "third", "farther", "uid-farther")


def settled(
    asked: dict[str, list[claims.Claimant]],
    held: dict[str, str] | None = None,
    platform: claims.Platform | None = None,
) -> dict[str, list[str]]:
    """Hosts that each App gets when all of one zone are asked for as given."""
    holders = {host: frozenset({(held or {}).get(host, "")}) for host in asked}
    own = {host: claims.Claim(host, who, holders[host]) for host, who in asked.items()}
    found: dict[str, list[str]] = {}
    for host, who in asked.items():
        rivals = tuple(claim for other, claim in own.items() if other != host)
        claim = dataclasses.replace(own[host], rivals=rivals)
        for each in who:
            found.setdefault(each.name, [])
            found[each.name] += claims.settle(each.uid, [claim], platform).granted
    return found


def test_wildcard_and_host_under_it_share_a_namespace() -> None:
    """Inside one namespace the exact host goes before the wildcard, and both are had."""
    found = settled({"*.a.b": [OLD], "x.a.b": [NEW]})

    assert found == {"old": ["*.a.b"], "new": ["x.a.b"]}


@pytest.mark.parametrize(
    ("held", "winner"),
    [({}, "old"), ({"x.a.b": "uid-far"}, "far")],
    ids=["older", "routed"],
)
def test_namespaces_do_not_overlap_under_a_wildcard(held: dict[str, str], winner: str) -> None:
    """Whoever was first, with the wildcard or under it, keeps the other namespace out."""
    found = settled({"*.a.b": [OLD], "x.a.b": [FAR]}, held)

    assert [name for name, hosts in found.items() if hosts] == [winner]


def test_claim_that_lost_keeps_nobody_out() -> None:
    """A wildcard that somebody else's host keeps away blocks no third."""
    found = settled({"x.a.b": [OLD], "*.a.b": [FAR], "y.a.b": [FARTHER]})

    assert found == {"old": ["x.a.b"], "far": [], "farther": ["y.a.b"]}


def test_loss_to_a_wildcard_names_what_overlaps() -> None:
    """The loser learns whose wildcard covers its host."""
    claim = claims.Claim("x.a.b", [FAR], frozenset(), (claims.Claim("*.a.b", [OLD], frozenset()),))

    assert claims.settle("uid-far", [claim]).lost == (claims.Loss("x.a.b", OLD, "*.a.b"),)


@pytest.mark.parametrize("host", ["a.b", "y.x.a.b", "*.x.a.b", "*.b"])
def test_wildcard_stands_for_one_label(host: str) -> None:
    """Parent, grandchild and other wildcards are hosts of their own."""
    assert settled({"*.a.b": [OLD], host: [FAR]})["far"] == [host]


@pytest.mark.parametrize(
    ("host", "free"),
    [
        ("registry.a.b", False),
        ("*.a.b", False),
        ("x.platform.c", False),
        ("x.y.platform.c", True),
        ("apps.c", False),
        ("*.apps.c", False),
        ("web.apps.c", True),
        ("free.a.b", True),
    ],
)
def test_reserved_hosts_belong_to_nobody(host: str, free: bool) -> None:
    """Neither they nor a wildcard over them, nor the whole base domain; names under it are free."""
    platform = claims.Platform("apps.c", frozenset({"registry.a.b", "*.platform.c"}))

    outcome = claims.settle(
        "uid-old", [claims.Claim(host, [OLD], frozenset({"uid-old"}))], platform
    )

    assert bool(outcome.granted) is free
    assert free or outcome.lost == (claims.Loss(host, None, host),)


@hypothesis.given(st.permutations([OLD, NEW, FAR, FARTHER]), st.integers(0, 3), st.booleans())
def test_no_two_namespaces_ever_overlap(
    order: list[claims.Claimant], cut: int, routed: bool
) -> None:
    """Whoever asks for what, what is granted overlaps only inside a namespace."""
    asked = {"*.a.b": order[:cut], "x.a.b": order[cut:], "y.a.b": order[1:3]}
    names = {each.name: each for each in order}
    found = settled(asked, {"x.a.b": order[-1].uid} if routed else None)

    pairs = [(names[name], host) for name, hosts in found.items() for host in hosts]
    for (one, host), (other, near) in itertools.combinations(pairs, 2):
        assert host != near
        assert one.namespace == other.namespace or not hosts_api.overlap(host, near)


def test_claimant_is_read_from_its_app() -> None:
    """Age first: it orders claimants. An App that was never stored is older than all."""
    metadata = {"namespace": "ns", "name": "old", "uid": "uid-old"}

    stored = claims.claimant_of({"metadata": {**metadata, "creationTimestamp": OLD.created}})

    assert stored == OLD
    assert claims.claimant_of({"metadata": metadata}) == dataclasses.replace(OLD, created="")
