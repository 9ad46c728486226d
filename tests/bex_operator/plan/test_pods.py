"""What is read of a Pod."""

import datetime
from typing import Any

import pytest

from bex_operator.plan import pods

STARTED = "2026-01-31T12:00:00Z"
ENDED = "2026-01-31T12:00:09Z"


def manifest(name: str = "web-1", **status: Any) -> dict[str, Any]:
    """A Pod as the API server has it."""
    labels = {"app.bex.co/revision": "rev-7", "app.bex.co/app": "web"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "apps",
            "uid": "u",
            "labels": labels,
            "resourceVersion": "9",
            "annotations": {"large": "x"},
        },
        "spec": {"large": "x"},
        "status": {"phase": "Running", "podIP": "10.0.0.1", **status},
    }


def container(name: str = "app", **fields: Any) -> dict[str, Any]:
    """What the kubelet says of a container."""
    return {"name": name, "image": "i", **fields}


def ready(status: str = "True") -> dict[str, Any]:
    """The condition that endpoints follow."""
    return {"type": "Ready", "status": status}


def scheduled(status: str, reason: str, **message: str) -> dict[str, Any]:
    """What the scheduler says."""
    return {"type": "PodScheduled", "status": status, "reason": reason, **message}


def one(**status: Any) -> pods.Pod:
    """Read one Pod."""
    (found,) = pods.read([manifest(**status)])
    return found


def test_ready_pod() -> None:
    """Everything that is known of a pod that does well."""
    running = container(restartCount=2, state={"running": {"startedAt": STARTED}})

    found = one(conditions=[ready()], containerStatuses=[container("sidecar"), running])

    assert found == pods.Pod(
        name="web-1",
        revision="rev-7",
        ready=True,
        unschedulable=None,
        waiting="",
        waiting_message="",
        last_exit=None,
        restarts=2,
        running_since=datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC),
        ended=False,
    )


def test_pod_of_which_nothing_is_known_yet() -> None:
    """Neither labels nor status: it counts, and is not ready."""
    (found,) = pods.read([{"metadata": {"name": "web-1"}}])

    assert found == pods.Pod("web-1", "", False, None, "", "", None, 0, None)


def test_waiting_container() -> None:
    """Why it waits, in the kubelet's words."""
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}

    found = one(conditions=[ready("False")], containerStatuses=[container(state=waiting)])

    assert (found.ready, found.waiting, found.waiting_message) == (
        False,
        "ErrImagePull",
        "no such image",
    )
    assert one(containerStatuses=[container(state={"waiting": {}})]).waiting == ""
    assert one(containerStatuses=[container(state={"waiting": {}})]).waiting_message == ""


@pytest.mark.parametrize("state", ["state", "lastState"])
def test_last_exit(state: str) -> None:
    """Of this container or of the one before it."""
    end = {
        "exitCode": 3,
        "reason": "Error",
        "message": "boom",
        "startedAt": STARTED,
        "finishedAt": ENDED,
    }

    found = one(containerStatuses=[container(**{state: {"terminated": end}})])

    assert found.last_exit == pods.Exit(3, "Error", "boom", 9.0)


def test_exit_of_which_nothing_is_known() -> None:
    """A machine that died tells neither when nor why."""
    found = one(containerStatuses=[container(state={"terminated": {"finishedAt": ENDED}})])
    other = one(containerStatuses=[container(state={"terminated": {"startedAt": STARTED}})])

    assert found.last_exit == pods.Exit(0, "", "", 0.0)
    assert other.last_exit == pods.Exit(0, "", "", 0.0)


def test_exit_of_a_container_that_does_well_again_is_history() -> None:
    """It is ready: what was is no cause of anything."""
    end = container(lastState={"terminated": {"exitCode": 3}})

    assert one(conditions=[ready()], containerStatuses=[end]).last_exit is None


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (scheduled("False", "Unschedulable", message="0/3"), "0/3"),
        (scheduled("False", "Unschedulable"), "no message"),
        (scheduled("False", "SchedulerError", message="0/3"), None),
        (scheduled("True", "Unschedulable", message="0/3"), None),
    ],
)
def test_only_what_no_machine_takes_is_unschedulable(
    condition: dict[str, Any], said: str | None
) -> None:
    """A scheduler that failed will try again by itself."""
    assert one(conditions=[condition]).unschedulable == said


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pods_that_ended_or_go_do_not_count(phase: str) -> None:
    """But they are read where ends matter."""
    going = manifest("web-0")
    going["metadata"]["deletionTimestamp"] = STARTED
    found = [manifest("web-2"), going, manifest("web-1"), manifest("web-3", phase=phase)]

    assert [each.name for each in pods.read(found)] == ["web-1", "web-2"]
    assert [(each.name, each.ended) for each in pods.read_all(found)] == [
        ("web-0", False),
        ("web-1", False),
        ("web-2", False),
        ("web-3", True),
    ]


def test_slim_pod_reads_the_same() -> None:
    """What is kept is what is read, and no more."""
    whole = manifest(conditions=[ready()], containerStatuses=[container(restartCount=1)])
    whole["metadata"]["deletionTimestamp"] = STARTED

    slim = pods.slim(whole)

    assert pods.read_all([slim]) == pods.read_all([whole])
    assert slim == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {key: each for key, each in whole["metadata"].items() if key != "annotations"},
        "status": {key: each for key, each in whole["status"].items() if key != "podIP"},
    }
    assert pods.slim({"metadata": {"name": "a"}}) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "status": {},
    }
