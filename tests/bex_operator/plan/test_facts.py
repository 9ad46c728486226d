"""The words of every condition: people read them, and programs the reasons."""

from typing import Any

import pytest

from bex_operator import api
from bex_operator.api import status
from bex_operator.plan import causes, claims, facts, rollouts

RELEASE = status.Release(number=2, digest="d")
NO_HOSTS = claims.Outcome((), ())
LATE = "rev-2 did not become ready within 15 minutes"
CRASH = causes.Cause("CrashLoopBackOff", "exit code 1", broken=True)
GOOD: dict[str, Any] = {
    "revision": "rev-2",
    "wanted": 1,
    "ready": 1,
    "serving": 1,
    "active": True,
    "late": False,
    "settled": True,
    "leaving": (),
    "cause": None,
    "standing": rollouts.Standing(RELEASE),
}
STARTING = {"ready": 0, "serving": 0, "active": False}
PARKED = {"wanted": 0, **STARTING}

Words = tuple[bool, str, str]
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], Words, Words, Words]] = {
    "serving": (
        {},
        {},
        (True, "Deployed", "1/1 replicas ready"),
        (True, "Released", "rev-2 serves"),
        (False, "Settled", "everything is as asked for"),
    ),
    "starting": (
        {},
        STARTING,
        (False, "RolloutProgressing", "0/1 replicas ready"),
        (False, "RollingOut", "rev-2 is on its way"),
        (True, "RollingOut", "rev-2 is starting"),
    ),
    "late": (
        {},
        {**STARTING, "late": True},
        (False, "ProgressDeadlineExceeded", LATE),
        (False, "ProgressDeadlineExceeded", LATE),
        (False, "ProgressDeadlineExceeded", "waits for a change that mends it"),
    ),
    "crashing": (
        {},
        {**STARTING, "cause": CRASH},
        (False, "CrashLoopBackOff", "exit code 1"),
        (False, "RollingOut", "rev-2 is on its way"),
        (False, "CrashLoopBackOff", "waits for a change that mends it"),
    ),
    "suspended": (
        {"suspended": True},
        PARKED,
        (False, "Suspended", "parked: spec.suspended is true"),
        (False, "Parked", "rev-2 is released when the App runs again"),
        (False, "Parked", "nothing is to run"),
    ),
    "no replicas": (
        {"replicas": 0},
        PARKED,
        (False, "ScaledToZero", "parked: spec.replicas is 0"),
        (False, "Parked", "rev-2 is released when the App runs again"),
        (False, "Parked", "nothing is to run"),
    ),
    "scaling": (
        {"replicas": 2},
        {"wanted": 2},
        (False, "Scaling", "1/2 replicas ready"),
        (True, "Released", "rev-2 serves"),
        (True, "RollingOut", "rev-2 is starting"),
    ),
    "leaving": (
        {},
        {"leaving": ("Deployment", "Service")},
        (False, "ChildLeaving", "waits for the old Deployment and Service to be gone"),
        (True, "Released", "rev-2 serves"),
        (True, "RollingOut", "rev-2 is starting"),
    ),
    "note": (
        {},
        {"standing": rollouts.Standing(RELEASE, note="the tag may move")},
        (True, "Deployed", "1/1 replicas ready"),
        (True, "Released", "rev-2 serves; the tag may move"),
        (False, "Settled", "everything is as asked for"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_words_of_a_rollout(
    case: tuple[dict[str, Any], dict[str, Any], Words, Words, Words],
) -> None:
    """Ready, Released and Progressing of one situation, word for word."""
    fields, measured, ready, released, progressing = case
    app = api.App(**{"name": "web", "image": "a/b:1", **fields})
    rollout = rollouts.Rollout(**{**GOOD, **measured})

    found = facts.ready(app, rollout, NO_HOSTS), facts.released(app, rollout)

    assert [(each.holds, each.reason, each.message) for each in found] == [ready, released]
    last = facts.progressing(app, rollout)
    assert (last.holds, last.reason, last.message) == progressing
    assert [each.type for each in (*found, last)] == ["Ready", "Released", "Progressing"]


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        ((), (False, "NoPublicHost", "reached inside the cluster only")),
        (("a.b", "c.d"), (True, "Routed", "hosts: a.b, c.d")),
        (tuple("abcde"), (True, "Routed", "hosts: a, b, c, d, e")),
        (tuple("abcdefg"), (True, "Routed", "hosts: a, b, c, d, e and 2 more")),
    ],
)
def test_words_of_routes(hosts: tuple[str, ...], words: Words) -> None:
    """Five hosts are enough to recognise an App by."""
    found = facts.routed(claims.Outcome(hosts, ()))

    assert (found.holds, found.reason, found.message) == words
    assert found.type == "Routed"
