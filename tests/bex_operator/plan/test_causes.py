"""The first thing in the way, and what would mend it."""

import datetime
from typing import Any

import pytest

from bex_operator import api
from bex_operator.plan import causes, pods

NOW = datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.UTC)
APP = api.App(name="web", image="example.com/a:1", port=8080)


def make_pod(state: dict[str, Any] | None = None, **fields: Any) -> pods.Pod:
    """Read a Pod whose container is in *state*."""
    container = {"name": "app", "restartCount": fields.pop("restarts", 0), "state": state or {}}
    container |= {key: fields.pop(key) for key in ("lastState",) if key in fields}
    conditions = fields.pop("conditions", [])
    manifest = {
        "metadata": {"name": "web-1", "labels": {"app.bex.co/revision": "rev-1"}},
        "status": {"phase": "Pending", "conditions": conditions, "containerStatuses": [container]},
    }
    (found,) = pods.read([manifest])
    return found


def waiting(reason: str, message: str = "") -> pods.Pod:
    """A pod whose container waits."""
    return make_pod({"waiting": {"reason": reason, "message": message}})


def ended(code: int, reason: str = "Error", message: str = "", restarts: int = 3) -> pods.Pod:
    """A pod whose container ended and waits to be started again."""
    end = {"exitCode": code, "reason": reason, "message": message}
    return make_pod(
        {"waiting": {"reason": "CrashLoopBackOff"}},
        lastState={"terminated": end},
        restarts=restarts,
    )


def running(seconds: int) -> pods.Pod:
    """A pod whose container runs, not ready."""
    since = NOW - datetime.timedelta(seconds=seconds)
    return make_pod({"running": {"startedAt": since.strftime("%Y-%m-%dT%H:%M:%SZ")}})


UNSCHEDULABLE = make_pod(
    conditions=[
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient cpu.",
        }
    ]
)

CASES = {
    "absent": (
        waiting("ErrImagePull", "rpc error: code = NotFound desc = x: not found"),
        "is not in its registry",
    ),
    "absent, backing off": (
        waiting("ImagePullBackOff", 'Back-off pulling image "x": ErrImagePull: not found'),
        "is not in its registry",
    ),
    "refused": (
        waiting("ErrImagePull", "pull access denied, unauthorized"),
        "is refused by its registry",
    ),
    "silent": (waiting("ErrImagePull", "dial tcp 10.0.0.1:443: i/o timeout"), "does not answer"),
    "unknown": (waiting("ErrImagePull", "moon phase"), "cannot be pulled"),
    "config": (
        waiting("CreateContainerConfigError", 'secret "s" not found'),
        'secret "s" not found',
    ),
    "machine": (UNSCHEDULABLE, "no machine has room: 0/3 nodes are available: 3 Insufficient cpu."),
    "exit": (
        ended(1, message="boom\nat line 3\n"),
        "exit code 1; it must go on and listen on $PORT (8080). Its last lines: boom | at line 3",
    ),
    "ends": (ended(0, "Completed"), "ends by itself"),
    "memory": (ended(137, "OOMKilled"), "more memory than it may"),
    "command": (ended(127), "cannot be started (exit code 127)"),
    "probe": (running(60), "nothing accepts connections on port 8080; does the app use $PORT?"),
}


@pytest.mark.parametrize(("pod", "words"), CASES.values(), ids=CASES.keys())
def test_cause_says_what_would_mend_it(pod: pods.Pod, words: str) -> None:
    """The message is for the person who owns the App."""
    found = causes.first(APP, None, [pod], now=NOW)

    assert found is not None
    assert words in found.message


def test_pull_that_backs_off_does_not_change_the_words() -> None:
    """Error and back-off alternate for hours; the status must not."""
    first, second = (
        causes.first(APP, None, [CASES[name][0]], now=NOW)
        for name in ("absent", "absent, backing off")
    )

    assert first == second


def test_start_is_given_time_before_its_probe_is_blamed() -> None:
    """Most Apps are only starting."""
    assert causes.first(APP, None, [running(5)], now=NOW) is None


def test_first_restart_is_not_yet_a_loop() -> None:
    """It is told, but not called hopeless."""
    found = causes.first(APP, None, [ended(1, restarts=1)], now=NOW)

    assert found is not None
    assert not found.broken


def test_app_that_ran_for_long_is_not_hopeless() -> None:
    """It may have been restarted often, over months."""
    end = {
        "exitCode": 1,
        "startedAt": "2026-01-31T10:00:00Z",
        "finishedAt": "2026-01-31T11:59:00Z",
    }
    pod = make_pod({"terminated": end}, restarts=9)

    found = causes.first(APP, None, [pod], now=NOW)

    assert found is not None
    assert not found.broken


def test_app_that_died_with_its_machine_is_not_blamed() -> None:
    """The kubelet found it dead and does not know why."""
    found = causes.first(APP, None, [ended(255, "Unknown")], now=NOW)

    assert found is not None
    assert (found.reason, found.broken) == ("Restarting", False)


def test_earlier_cause_of_any_pod_comes_first() -> None:
    """An image that cannot be pulled explains more than a slow start."""
    found = causes.first(APP, None, [running(60), CASES["absent"][0]], now=NOW)

    assert found is not None
    assert found.reason == "ImagePullBackOff"


def test_quota_is_told_when_no_pod_can_be_made() -> None:
    """The Deployment knows why there are no pods."""
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: q"}

    found = causes.first(APP, {"status": {"conditions": [failure]}}, [], now=NOW)

    assert found is not None
    assert found.reason == "RolloutBlockedByQuota"


def test_health_path_is_named() -> None:
    """The probe that fails is the one the person chose."""
    app = api.App(name="web", image="a", health_check_path="/up")

    found = causes.first(app, None, [running(60)], now=NOW)

    assert found is not None
    assert found.message.startswith("/up on port 3000 does not answer")


def test_pod_that_goes_or_is_finished_does_not_count() -> None:
    """Evicted and deleted pods linger; they serve nobody."""
    leaving = {"metadata": {"name": "a", "deletionTimestamp": "t"}}
    evicted = {"metadata": {"name": "b"}, "status": {"phase": "Failed"}}

    assert pods.read([leaving, evicted]) == ()


def test_slim_pod_reads_the_same() -> None:
    """What is cut away is never looked at."""
    manifest = {
        "metadata": {
            "name": "a",
            "namespace": "n",
            "uid": "u",
            "resourceVersion": "1",
            "annotations": {"x": "y"},
            "labels": {"app.bex.co/revision": "rev-1"},
        },
        "spec": {"containers": []},
        "status": {
            "phase": "Running",
            "podIP": "1",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }

    assert pods.read([pods.slim(manifest)]) == pods.read([manifest])
    assert "spec" not in pods.slim(manifest)
