"""What is said of an App that cannot be acted on."""

import datetime
from typing import Any

import pytest

from bex_operator.api import conditions, status
from bex_operator.plan import causes, pods, reports, rollouts

NOW = datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.UTC)
TIME = "2026-01-31T12:00:00Z"
BAD = reports.Refusal("BadSpec", "spec.port 0: too small")
SERVING = pods.Pod("web-1", "rev-2", True, None, "", "", None, 0, NOW)


def manifest(before: status.AppStatus | None = None) -> dict[str, Any]:
    """The App object, of generation 4."""
    made: dict[str, Any] = {"metadata": {"name": "web", "namespace": "apps", "generation": 4}}
    if before is not None:
        made["status"] = before.model_dump(mode="json", by_alias=True, exclude_none=True)
    return made


BEFORE = status.AppStatus(
    phase="Running",
    observed_generation=3,
    active_revision="rev-2",
    release=status.Release(number=2, digest="d"),
    url="http://a.example.com",
    conditions=conditions.merge(
        (),
        [
            conditions.Fact("Ready", True, "Deployed", "1/1 replicas ready"),
            conditions.Fact("Routed", True, "Routed", "hosts: a.example.com"),
        ],
        generation=3,
        now="2026-01-30T12:00:00Z",
    ),
)


def refused(
    refusal: reports.Refusal = BAD,
    before: status.AppStatus | None = None,
    found: tuple[pods.Pod, ...] = (),
    standing: rollouts.Standing | None = None,
) -> status.AppStatus:
    """Report the refusal."""
    observed = rollouts.Observed(
        manifest(before), None, found, standing=standing or rollouts.Standing()
    )
    return reports.refused(observed, refusal, before, now=NOW)


def fact(kind: str, truth: str, reason: str, message: str, **more: Any) -> status.Condition:
    """One condition, new unless said otherwise."""
    given = {"observed_generation": 4, "last_transition_time": TIME, **more}
    return status.Condition(type=kind, status=truth, reason=reason, message=message, **given)


def test_new_app_that_is_refused_has_failed() -> None:
    """Nothing serves, and nothing will without a change."""
    assert refused() == status.AppStatus(
        phase="Failed",
        observed_generation=4,
        selector="app.bex.co/app=web",
        conditions=[
            fact("Ready", "False", "BadSpec", "spec.port 0: too small"),
            fact("Progressing", "False", "BadSpec", "nothing is done until this is mended"),
        ],
    )


def test_what_serves_goes_on_serving() -> None:
    """What was known stays known; what was found of an older spec says so."""
    found = refused(before=BEFORE, found=(SERVING,))

    assert (found.phase, found.active_revision, found.url, found.replicas) == (
        "Running",
        "rev-2",
        "http://a.example.com",
        1,
    )
    routed = conditions.find(found.conditions, "Routed")
    assert routed == conditions.find(BEFORE.conditions, "Routed")
    assert [each.type for each in found.conditions] == ["Ready", "Progressing", "Routed"]


def test_refusal_that_stays_is_reported_alike() -> None:
    """Nothing is written twice."""
    once = refused(before=BEFORE)

    assert refused(before=once) == once


@pytest.mark.parametrize(
    ("phase", "progressing"), [("Building", "True"), ("Deploying", "True"), ("Hibernated", "False")]
)
def test_app_that_only_waits_has_not_failed(phase: status.Phase, progressing: str) -> None:
    """Somebody is at work, or nobody needs to be."""
    found = refused(reports.Refusal("Building", "builds commit 1", phase))

    assert found.phase == phase
    assert found.conditions[1] == fact("Progressing", progressing, "Building", "builds commit 1")


def test_newest_release_is_told_of_though_nothing_runs() -> None:
    """Its number, its command, and that it was given up."""
    ran = status.PreDeploy(number=3, job="j", state="Failed", message="exit code 1")
    newest = status.Release(number=3, digest="e")

    found = refused(before=BEFORE, standing=rollouts.Standing(newest, pre_deploy=ran))

    assert (found.release, found.pre_deploy) == (newest, ran)
    assert found.history == (
        status.Outcome(
            number=3,
            served=False,
            reason="PreDeployFailed",
            message="exit code 1",
            at="2026-01-31T12:00:00Z",
        ),
    )


def test_command_that_runs_gives_nothing_up() -> None:
    """It may end well."""
    ran = status.PreDeploy(number=3, job="j", state="Running")

    assert refused(standing=rollouts.Standing(pre_deploy=ran)).history == ()


def test_unschedulable_pod_is_looked_at_again() -> None:
    """Room is made by others: nobody tells the App."""
    waiting = pods.Pod("web-1", "rev-2", False, "0/3", "", "", None, 0, None)
    observed = rollouts.Observed(manifest(), None, (waiting,))

    assert rollouts.waits_for_room(observed)
    assert reports.recheck_seconds(observed, now=NOW) == 30.5
    calm = rollouts.Observed(manifest(), None, (SERVING,))
    assert not rollouts.waits_for_room(calm)
    assert reports.recheck_seconds(calm, now=NOW) is None


def test_slow_start_is_looked_at_when_it_becomes_one() -> None:
    """Half a second later, so that it is one by then."""
    since = NOW - datetime.timedelta(seconds=5)
    late = NOW - datetime.timedelta(seconds=20)
    starting = pods.Pod("web-1", "rev-2", False, None, "", "", None, 0, since)
    slow = pods.Pod("web-2", "rev-2", False, None, "", "", None, 0, late)

    first = rollouts.Observed(manifest(), None, (starting, slow))
    second = rollouts.Observed(manifest(), None, (slow,))

    assert reports.recheck_seconds(first, now=NOW) == causes.SLOW_START_SECONDS - 5 + 0.5
    assert reports.recheck_seconds(second, now=NOW) is None
