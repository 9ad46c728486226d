"""What is said about an App, from what was observed."""

import datetime
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from bex_operator import api
from bex_operator.api import conditions, status
from bex_operator.plan import claims, pods, reports, rollouts

NOW = datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.UTC)
RELEASE = status.Release(number=2, digest="d")
ALL_HOSTS = claims.Outcome(("a.example.com",), ())
ADDRESSES = reports.Addresses("http://{host}:8080")


def pod(revision: str = "rev-2", *, ready: bool = True, **fields: Any) -> pods.Pod:
    """A pod."""
    given: dict[str, Any] = {
        "name": "web-1",
        "revision": revision,
        "ready": ready,
        "unschedulable": None,
        "waiting": "",
        "waiting_message": "",
        "last_exit": None,
        "restarts": 0,
        "running_since": NOW,
    }
    return pods.Pod(**{**given, **fields})


CRASHING = pod(ready=False, restarts=5, last_exit=pods.Exit(1, "Error", "boom", 2.0))


def deployment(*, updated: int = 9, late: bool = False) -> dict[str, Any]:
    """A Deployment whose controller has taken everything in."""
    reason = "ProgressDeadlineExceeded" if late else "NewReplicaSetAvailable"
    return {
        "metadata": {"generation": 1},
        "status": {
            "observedGeneration": 1,
            "updatedReplicas": updated,
            "conditions": [{"type": "Progressing", "status": "True", "reason": reason}],
        },
    }


def report(
    *found: pods.Pod,
    active: str | None = None,
    hosts: claims.Outcome = ALL_HOSTS,
    deployed: dict[str, Any] | None = None,
    leaving: tuple[str, ...] = (),
    autoscaler: dict[str, Any] | None = None,
    **fields: Any,
) -> status.AppStatus:
    """Report an App with these pods, whose status so far names *active*."""
    manifest: dict[str, Any] = {"metadata": {"name": "web", "namespace": "apps", "generation": 7}}
    before = None
    if active:
        before = status.AppStatus(
            phase="Running", observed_generation=6, active_revision=active, image="old:1"
        )
        manifest["status"] = before.model_dump(mode="json", by_alias=True, exclude_none=True)
    observed = rollouts.Observed(manifest, deployed or deployment(), found, autoscaler, leaving)
    app = api.App(**{"name": "web", "image": "a:1", **fields})
    return reports.report(app, observed, RELEASE, hosts, ADDRESSES, before, now=NOW)


def ready(made: status.AppStatus) -> tuple[str, str]:
    """Status and reason of Ready."""
    found = conditions.find(made.conditions, conditions.READY)
    assert found is not None
    return found.status, found.reason


OLD = pod("rev-1")
LATE = deployment(late=True)


@pytest.mark.parametrize(
    ("make", "phase", "truth"),
    [
        (lambda: report(pod()), "Running", ("True", "Deployed")),
        (report, "Deploying", ("False", "RolloutProgressing")),
        (lambda: report(pod(ready=False)), "Deploying", ("False", "RolloutProgressing")),
        (lambda: report(OLD, active="rev-1"), "Deploying", ("False", "RolloutProgressing")),
        (lambda: report(OLD, CRASHING, active="rev-1"), "Running", ("False", "CrashLoopBackOff")),
        (lambda: report(CRASHING), "Failed", ("False", "CrashLoopBackOff")),
        (
            lambda: report(OLD, active="rev-1", deployed=LATE),
            "Running",
            ("False", "ProgressDeadlineExceeded"),
        ),
        (lambda: report(deployed=LATE), "Failed", ("False", "ProgressDeadlineExceeded")),
        (lambda: report(pod(), active="rev-2", replicas=2), "Running", ("False", "Scaling")),
        (lambda: report(active="rev-2"), "Deploying", ("False", "Scaling")),
        (lambda: report(active="rev-2", suspended=True), "Hibernated", ("False", "Suspended")),
        (lambda: report(replicas=0), "Hibernated", ("False", "ScaledToZero")),
        (
            lambda: report(pod(), deployed=deployment(updated=0)),
            "Deploying",
            ("False", "RolloutProgressing"),
        ),
        (lambda: report(pod(), leaving=("Service",)), "Running", ("False", "ChildLeaving")),
    ],
    ids=[
        "ready",
        "no pod yet",
        "starting",
        "old serves",
        "old serves, new crashes",
        "crashes",
        "late, old serves",
        "late",
        "scaling up",
        "all pods lost",
        "suspended",
        "zero",
        "pods of an edited template",
        "child on its way out",
    ],
)
def test_phase_and_ready(
    make: Callable[[], status.AppStatus], phase: str, truth: tuple[str, str]
) -> None:
    """The phase tells what serves; Ready tells whether all of the newest revision does."""
    made = make()

    assert (made.phase, ready(made)) == (phase, truth)


def test_active_revision_moves_when_the_new_one_is_ready() -> None:
    """Until then revision and image are those that serve."""
    waiting, done = report(OLD, active="rev-1"), report(OLD, pod(), active="rev-1")

    assert (waiting.active_revision, waiting.image) == ("rev-1", "old:1")
    assert (done.active_revision, done.image) == ("rev-2", "a:1")


def test_lost_host_is_told_with_its_winner() -> None:
    """The condition names host and App; the URL is the first host that is left."""
    winner = claims.Claimant("t", "other", "first", "u")
    hosts = claims.Outcome(
        ("b.example.com",), (claims.Loss("a.example.com", winner, "a.example.com"),)
    )

    made = report(pod(), hosts=hosts)

    found = conditions.find(made.conditions, conditions.HOSTS_CLAIMED)
    assert found is not None
    assert (found.status, found.reason) == ("False", "HostTaken")
    assert found.message == "host 'a.example.com' belongs to App other/first"
    assert made.url == "http://b.example.com:8080"


def test_app_without_hosts_has_its_address_in_the_cluster() -> None:
    """A private service is reached by its Service."""
    made = report(pod(), hosts=claims.Outcome((), ()), port=8080)

    assert made.url == "http://web.apps.svc:8080"


def test_degraded_is_for_what_serves_with_a_cause() -> None:
    """An App that serves with less than asked for says why."""
    made = report(pod(), CRASHING, active="rev-2", replicas=2)

    found = conditions.find(made.conditions, conditions.DEGRADED)
    assert found is not None
    assert (found.status, found.reason) == ("True", "CrashLoopBackOff")
    assert made.phase == "Running"


def test_transition_time_moves_only_with_the_status() -> None:
    """A message that changes does not make it look like news."""
    before = report(pod(), replicas=2).conditions
    later = conditions.merge(
        before,
        [conditions.Fact(conditions.READY, False, "Scaling", "other words")],
        generation=8,
        now="2026-02-01T00:00:00Z",
    )

    assert later[0].last_transition_time == "2026-01-31T12:00:00Z"
    assert (later[0].message, later[0].observed_generation) == ("other words", 8)


def test_garbled_status_counts_as_none() -> None:
    """Whatever somebody wrote into the status, the operator reports afresh."""
    assert reports.recorded({"status": {"phase": "Wonderful"}}) is None
    assert reports.recorded({"status": "x"}) is None
    assert reports.recorded({}) is None


PODS = st.lists(
    st.builds(
        pod,
        st.sampled_from(["rev-1", "rev-2"]),
        ready=st.booleans(),
        restarts=st.integers(0, 3),
        waiting=st.sampled_from(["", "ImagePullBackOff", "CreateContainerConfigError"]),
        unschedulable=st.sampled_from([None, "0/3 nodes"]),
    ),
    max_size=4,
)


@hypothesis.given(
    found=PODS,
    active=st.sampled_from([None, "rev-1", "rev-2"]),
    replicas=st.integers(0, 3),
    suspended=st.booleans(),
    late=st.booleans(),
    updated=st.integers(0, 3),
)
def test_report_is_true_to_what_serves(
    found: list[pods.Pod],
    active: str | None,
    replicas: int,
    suspended: bool,
    late: bool,
    updated: int,
) -> None:
    """Ready only with all pods of the newest revision; Failed only if nothing serves."""
    made = report(
        *found,
        active=active,
        replicas=replicas,
        suspended=suspended,
        deployed=deployment(updated=updated, late=late),
    )

    current = sum(each.ready for each in found if each.revision == "rev-2")
    if ready(made)[0] == "True":
        assert current >= replicas > 0
        assert not suspended
        assert made.active_revision == "rev-2"
        assert made.phase == "Running"
    if made.phase == "Failed":
        assert not any(each.ready for each in found)
    if made.phase == "Running":
        assert any(each.ready for each in found)
    assert (made.phase == "Hibernated") == (suspended or replicas == 0)


@pytest.mark.parametrize(
    ("active", "suspended", "degraded"),
    [("False", False, "True"), ("True", False, "False"), ("False", True, "False")],
    ids=["blind", "seeing", "parked"],
)
def test_autoscaler_without_metrics_is_told(active: str, suspended: bool, degraded: str) -> None:
    """Nothing scales where nobody measures, and nobody else would say so."""
    scaling = {"type": "ScalingActive", "status": active, "reason": "FailedGetResourceMetric"}

    made = report(
        pod(),
        autoscaler={"status": {"conditions": [scaling]}},
        autoscaling={"max_replicas": 3},
        tier="pro",
        suspended=suspended,
    )

    found = conditions.find(made.conditions, conditions.DEGRADED)
    assert found is not None
    assert found.status == degraded
    assert (found.reason == "AutoscalerWithoutMetrics") is (degraded == "True")


@pytest.mark.parametrize(("seconds", "told"), [(None, False), (0, False), (60, True)])
def test_app_that_wants_to_sleep_hears_that_it_will_not(seconds: int | None, told: bool) -> None:
    """A field without effect must not look as if it had one."""
    found = conditions.find(report(pod(), idle_ttl_seconds=seconds).conditions, "IdleSleep")

    assert (found is not None) is told
    if found is not None:
        assert (found.status, found.reason) == ("False", "NotSupportedYet")
        assert "no effect yet" in found.message


def test_lost_host_is_told_where_people_look_first() -> None:
    """The App serves all the same, with less than was asked for."""
    winner = claims.Claimant("2026-01-31T12:00:00Z", "other", "shop", "u")
    lost = claims.Loss("b.example.com", winner, "b.example.com")

    found = report(pod(), active="rev-2", hosts=claims.Outcome(("a.example.com",), (lost,)))

    ready = conditions.find(found.conditions, "Ready")
    degraded = conditions.find(found.conditions, "Degraded")
    assert ready is not None
    assert degraded is not None
    assert (ready.status, ready.message) == (
        "True",
        "1/1 replicas ready; host 'b.example.com' belongs to App other/shop",
    )
    assert (degraded.status, degraded.reason) == ("True", "HostTaken")


def test_release_that_serves_says_when_it_came_that_far() -> None:
    """Times are those of the pod that was ready last, and of no other release's."""
    seen = [
        pod(placed_at="p1", ready_at="t1"),
        pod(placed_at="p2", ready_at="t3", running_since=NOW),
        pod(placed_at="p3", ready_at="t2"),
        pod("rev-1", placed_at="p4", ready_at="t4"),
    ]

    found = report(*seen, replicas=3)

    (told,) = [each for each in found.history if each.number == RELEASE.number]
    assert (told.placed_at, told.ready_at) == ("p2", "t3")
    assert told.started_at == "2026-01-31T12:00:00Z"
    (told,) = report(pod()).history
    assert told.ready_at is None
