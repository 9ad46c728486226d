"""The words of every condition: people read them, and programs the reasons."""

from typing import Any

import pytest

from bex_operator import api
from bex_operator.api import status
from bex_operator.plan import causes, certificates, claims, facts, rollouts

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


MAKING = certificates.Lack("the certificate of a is being made", failed=False)
BROKEN = certificates.Lack("the certificate of b could not be made", failed=True)
HOSTS = claims.Outcome(("a", "b"), ())


@pytest.mark.parametrize(
    ("hosts", "lacking", "words"),
    [
        (HOSTS, (), (True, "Certified", "every host has its certificate")),
        (NO_HOSTS, (), (True, "Certified", "no host needs one")),
        (HOSTS, (MAKING,), (False, "CertificatePending", MAKING.message)),
        (
            HOSTS,
            (MAKING, BROKEN),
            (False, "CertificateFailed", f"{MAKING.message}; {BROKEN.message}"),
        ),
    ],
)
def test_words_of_certificates(
    hosts: claims.Outcome, lacking: tuple[certificates.Lack, ...], words: Words
) -> None:
    """One that could not be made is worse than one that is on its way."""
    (found,) = facts.certified(hosts, lacking)

    assert (found.type, found.holds, found.reason, found.message) == ("Certified", *words)
    assert facts.certified(hosts, None) == ()


WINNER = claims.Claimant("t", "apps", "other", "u")
TAKEN = claims.Loss("a", WINNER, "a")
RESERVED = claims.Loss("b", None, "b")


@pytest.mark.parametrize(
    ("hosts", "fields", "words"),
    [
        (HOSTS, {}, (True, "Claimed", "every host is the App's own")),
        (NO_HOSTS, {}, (True, "Claimed", "no host is asked for")),
        (
            NO_HOSTS,
            {"expose": True},
            (
                *(False, "NoBaseDomain"),
                "spec.expose: this platform has no base domain to give a name under",
            ),
        ),
        (
            claims.Outcome((), (RESERVED,)),
            {},
            (False, "HostReserved", "host 'b' is reserved for the platform"),
        ),
        (
            claims.Outcome((), (RESERVED, TAKEN)),
            {},
            (
                *(False, "HostTaken"),
                "host 'b' is reserved for the platform; host 'a' belongs to App apps/other",
            ),
        ),
    ],
)
def test_words_of_claims(hosts: claims.Outcome, fields: dict[str, Any], words: Words) -> None:
    """Who has what the App asked for."""
    app = api.App(**{"name": "web", "image": "a/b:1", **fields})

    found = facts.claimed(app, hosts, None)

    assert (found.type, found.holds, found.reason, found.message) == ("HostsClaimed", *words)


PENDING = causes.Cause("PreDeploying", "it runs", broken=False)


@pytest.mark.parametrize(
    ("hosts", "lacking", "measured", "words"),
    [
        (HOSTS, None, {}, (False, "AsExpected", "nothing is known to be wrong")),
        (HOSTS, (MAKING,), {}, (False, "AsExpected", "nothing is known to be wrong")),
        (
            HOSTS,
            (MAKING, BROKEN, BROKEN),
            {},
            (
                *(True, "CertificateFailed"),
                f"it serves, but: {BROKEN.message}; {BROKEN.message}",
            ),
        ),
        (HOSTS, (BROKEN,), STARTING, (False, "AsExpected", "nothing is known to be wrong")),
        (
            claims.Outcome((), (TAKEN,)),
            (BROKEN,),
            {},
            (True, "HostTaken", "it serves, but: host 'a' belongs to App apps/other"),
        ),
        (HOSTS, (), {"cause": CRASH}, (True, "CrashLoopBackOff", "it serves, but: exit code 1")),
        (
            HOSTS,
            (),
            {"cause": PENDING, "standing": rollouts.Standing(RELEASE, PENDING)},
            (False, "AsExpected", "nothing is known to be wrong"),
        ),
    ],
)
def test_words_of_what_is_less_than_asked_for(
    hosts: claims.Outcome,
    lacking: tuple[certificates.Lack, ...] | None,
    measured: dict[str, Any],
    words: Words,
) -> None:
    """The worst first; what serves nothing is no less, it is not Ready."""
    app = api.App(name="web", image="a/b:1")
    observed = rollouts.Observed({"metadata": {}}, None, (), lacking=lacking)

    found = facts.degraded(app, observed, rollouts.Rollout(**{**GOOD, **measured}), hosts)

    assert (found.type, found.holds, found.reason, found.message) == ("Degraded", *words)


def test_ready_names_hosts_before_certificates() -> None:
    """The order of a request's way."""
    app = api.App(name="web", image="a/b:1")
    lost = claims.Outcome((), (RESERVED,))

    found = facts.ready(app, rollouts.Rollout(**GOOD), lost, (BROKEN,))

    assert found.message.split("; ") == [
        "1/1 replicas ready",
        "host 'b' is reserved for the platform",
        BROKEN.message,
    ]


def test_release_that_is_held_for_a_while_goes_on() -> None:
    """In the words of what holds it."""
    app = api.App(name="web", image="a/b:1")
    held = rollouts.Rollout(
        **{**GOOD, **STARTING, "standing": rollouts.Standing(RELEASE, PENDING), "cause": PENDING}
    )

    found = facts.progressing(app, held)

    assert (found.holds, found.reason, found.message) == (True, "PreDeploying", "it runs")
