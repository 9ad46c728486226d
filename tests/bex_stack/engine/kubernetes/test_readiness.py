"""When objects count as ready."""

import pytest

from bex_stack.engine import errors
from bex_stack.engine.kubernetes import readiness


def make(kind, api_version="v1", *, annotations=None, generation=1, **parts):
    """Make an object."""
    metadata = {"name": "x", "generation": generation, "annotations": annotations or {}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **parts}


def judge(obj, related=()):
    """Judge an object by its own test."""
    return readiness.test_of(obj)(obj, related)


def condition(name, status="True", **more):
    """Make a status with one condition."""
    return {"conditions": [{"type": name, "status": status, **more}]}


DONE = {
    "observedGeneration": 1,
    "replicas": 2,
    "updatedReplicas": 2,
    "availableReplicas": 2,
    "readyReplicas": 2,
}
SEEN = {"observedGeneration": 1}


@pytest.mark.parametrize(
    ("obj", "ready"),
    [
        (make("Deployment", "apps/v1", spec={"replicas": 2}, status=DONE), True),
        (make("Deployment", "apps/v1", generation=2, spec={"replicas": 2}, status=DONE), False),
        (
            make("Deployment", "apps/v1", spec={"replicas": 2}, status={**DONE, "replicas": 3}),
            False,
        ),
        (
            make("Deployment", "apps/v1", spec={"replicas": 0}, status={"observedGeneration": 1}),
            True,
        ),
        (make("StatefulSet", "apps/v1", spec={"replicas": 2}, status=DONE), True),
        (
            make(
                "DaemonSet",
                "apps/v1",
                status={
                    "observedGeneration": 1,
                    "desiredNumberScheduled": 1,
                    "updatedNumberScheduled": 1,
                    "numberAvailable": 0,
                },
            ),
            False,
        ),
        (make("Job", "batch/v1", status=condition("Complete")), True),
        (make("Pod", status={"phase": "Running", **condition("Ready")}), True),
        (make("Pod", status={"phase": "Pending"}), False),
        (make("Service", spec={"type": "ExternalName"}), True),
        (make("Service", spec={"selector": {"a": "b"}, "clusterIP": "None"}), True),
        (make("Service", spec={"selector": {"a": "b"}}), False),
        (make("Service", spec={"selector": {"a": "b"}, "type": "LoadBalancer"}), False),
        (make("PersistentVolumeClaim", status={"phase": "Bound"}), True),
        (make("Namespace", status={"phase": "Active"}), True),
        (
            make(
                "CustomResourceDefinition",
                "apiextensions.k8s.io/v1",
                status=condition("Established"),
            ),
            True,
        ),
    ],
    ids=lambda each: each["kind"] if isinstance(each, dict) else "",
)
def test_readiness_by_kind(obj, ready):
    """Each kind has its own idea of being ready."""
    assert judge(obj).ready is ready


def test_pod_trouble_is_part_of_the_message():
    """What a pod suffers from is said, not only a count."""
    obj = make("Deployment", "apps/v1", spec={"replicas": 1}, status={"observedGeneration": 1})
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    pod = make("Pod", status={"containerStatuses": [{"state": waiting}]})

    message = judge(obj, [pod]).message

    assert message == "0 of 1 replicas ready; pod x: ImagePullBackOff: no such image"


def test_failed_objects_are_not_waited_for():
    """A job that failed and a rollout over its deadline never become ready."""
    job = make("Job", "batch/v1", status=condition("Failed", message="too often"))
    late = condition("Progressing", "False", reason="ProgressDeadlineExceeded")
    deployment = make("Deployment", "apps/v1", status={"observedGeneration": 1, **late})

    assert judge(job).failed
    assert judge(deployment).failed


@pytest.mark.parametrize(
    ("asked", "status", "ready"),
    [
        ("condition=Ready", condition("Ready", observedGeneration=2), True),
        ("condition=Ready", condition("Ready", observedGeneration=1), False),
        ("condition=Ready", {**condition("Ready"), "observedGeneration": 1}, False),
        ("condition=Ready", condition("Ready"), True),
        ("condition=Ready=False", condition("Ready", "False"), True),
        ("condition=Ready", {}, False),
        ("jsonpath={.status.phase}=Running", {"phase": "Running"}, True),
        ("jsonpath={.status.phase}=Running", {"phase": "Off"}, False),
        ("jsonpath={.status.phase}", {"phase": "Off"}, True),
        ("jsonpath='{.status.phase}'=Running", {"phase": "Running"}, True),
        ('["condition=A", "jsonpath={.status.b}"]', {**condition("A"), "b": 1}, True),
        ('["condition=A", "jsonpath={.status.b}"]', condition("A"), False),
    ],
)
def test_wait_for_annotation(asked, status, ready):
    """Conditions must speak of this generation; several expressions must all hold."""
    obj = make(
        "Thing", "x/v1", annotations={readiness.WAIT_FOR: asked}, generation=2, status=status
    )

    assert judge(obj).ready is ready


@pytest.mark.parametrize("asked", ["Ready", "jsonpath={.items[0].x}", "[]", "condition="])
def test_unreadable_wait_for_is_refused(asked):
    """An annotation that cannot be followed is an error, not ignored."""
    with pytest.raises(errors.ProviderError, match="waitFor"):
        readiness.test_of(make("Thing", "x/v1", annotations={readiness.WAIT_FOR: asked}))


def test_skipped_and_unknown_kinds_are_not_waited_for():
    """skipAwait wins; kinds without a test and ingresses are taken as they are."""
    skipped = make("Deployment", "apps/v1", annotations={readiness.SKIP: "true"})

    assert readiness.test_of(skipped) is None
    assert readiness.test_of(make("ConfigMap")) is None
    assert readiness.test_of(make("Ingress", "networking.k8s.io/v1")) is None
