"""What is said of an App whose newest release is not the one that runs."""

import datetime
from typing import Any

from bex_operator import api
from bex_operator.api import conditions, status
from bex_operator.plan import causes, claims, pods, reports, rollouts

NOW = datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.UTC)
HELD = causes.Cause("ImageNotFound", "image 'a:9' is not in its registry", broken=True)
SECOND = status.Release(number=2, digest="second")
THIRD = status.Release(number=3, digest="third")


def pod(revision: str) -> pods.Pod:
    """A pod that is ready."""
    return pods.Pod(
        name=f"web-{revision}",
        revision=revision,
        ready=True,
        unschedulable=None,
        waiting="",
        waiting_message="",
        last_exit=None,
        restarts=0,
        running_since=NOW,
    )


def deployment(*, late: bool, seen: int = 2) -> dict[str, Any]:
    """A Deployment of generation 2, of which its controller has seen a generation."""
    reason = "ProgressDeadlineExceeded" if late else "NewReplicaSetAvailable"
    progressing = {"type": "Progressing", "status": "False", "reason": reason}
    found = {"observedGeneration": seen, "updatedReplicas": 9, "conditions": [progressing]}
    return {"metadata": {"generation": 2}, "status": found}


def report(
    found: dict[str, Any],
    *ready: pods.Pod,
    standing: rollouts.Standing | None = None,
    active: str = "rev-1",
    **fields: Any,
) -> status.AppStatus:
    """Report an App that runs rev-2; *active* served so far."""
    before = status.AppStatus(phase="Running", observed_generation=6, active_revision=active)
    manifest = {
        "metadata": {"name": "web", "namespace": "apps", "generation": 7},
        "status": before.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    observed = rollouts.Observed(
        manifest, found, ready, standing=standing or rollouts.Standing(newest=SECOND)
    )
    app = api.App(**{"name": "web", "image": "a:1", **fields})
    outcome, addresses = claims.Outcome((), ()), reports.Addresses()
    return reports.report(app, observed, SECOND, outcome, addresses, before, now=NOW)


def test_late_release_is_given_up_while_another_serves() -> None:
    """The history keeps why; what serves stays the active one."""
    made = report(deployment(late=True), pod("rev-1"))

    (outcome,) = made.history
    assert (outcome.number, outcome.served) == (2, False)
    assert outcome.message is not None
    assert "within 15 minutes, rev-1 goes on serving" in outcome.message
    assert made.active_revision == "rev-1"


def test_late_release_is_not_given_up_when_nothing_else_serves() -> None:
    """There is nothing to stay with: it may come up yet."""
    assert report(deployment(late=True)).history == ()


def test_lateness_of_an_earlier_release_is_not_this_ones() -> None:
    """Until the Deployment's controller has seen the new template its word is about the old."""
    assert report(deployment(late=True, seen=1), pod("rev-1")).history == ()


def test_parked_app_gives_nothing_up() -> None:
    """What is not to run is not late."""
    assert report(deployment(late=True), pod("rev-1"), suspended=True).history == ()


def test_release_that_serves_is_remembered() -> None:
    """A rollback goes to what served."""
    made = report(deployment(late=False), pod("rev-2"))

    assert made.history == (status.Outcome(number=2, served=True, at="2026-01-31T12:00:00Z"),)


def test_held_app_serves_and_says_what_is_in_the_way() -> None:
    """All its pods are ready, but they are not what was asked for."""
    standing = rollouts.Standing(newest=THIRD, held=HELD)

    made = report(deployment(late=False), pod("rev-2"), standing=standing, active="rev-2")

    for wanted in (conditions.READY, conditions.RELEASED, conditions.PROGRESSING):
        found = conditions.find(made.conditions, wanted)
        assert found is not None
        assert (found.status, found.reason) == ("False", "ImageNotFound")
    assert (made.phase, made.active_revision, made.release) == ("Running", "rev-2", THIRD)


def test_note_stands_in_released() -> None:
    """Whoever looks learns that the tag may move."""
    standing = rollouts.Standing(newest=SECOND, note="the tag may move")

    made = report(deployment(late=False), pod("rev-2"), standing=standing)

    found = conditions.find(made.conditions, conditions.RELEASED)
    assert found is not None
    assert found.message == "rev-2 serves; the tag may move"
