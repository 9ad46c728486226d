"""Who may have a host."""

import itertools

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

    assert outcome == claims.Outcome(("c.d",), (claims.Loss("a.b", OLD),))
