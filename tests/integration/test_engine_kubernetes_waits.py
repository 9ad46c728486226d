"""What the engine's Kubernetes provider waits for, and what becomes of a wait that is cut short.

What controllers would report of their objects is written by the tests.
"""

import signal
import threading
import time

from bex_operator.kube import kinds
from bex_stack.engine import events
from bex_stack.engine.kubernetes import waiting
from tests.support.engine_cluster import GADGET, GADGETS, Cluster, cluster, project
from tests.support.engine_project import Project
from tests.support.waiting import wait_until

__all__ = ["cluster", "project"]


def test_wait_for_condition_of_this_generation(project: Project, cluster: Cluster) -> None:
    """`pulumi.com/waitFor` waits for a condition that speaks of the object's own generation."""
    ready = {"type": "Ready", "status": "True", "reason": "Done", "observedGeneration": 1}
    other = threading.Thread(target=cluster.set_status, args=(GADGET, "g", {"conditions": [ready]}))
    other.start()
    first = project.up(GADGETS.replace("SIZE", "1"))
    other.join()
    stale = project.up(GADGETS.replace("SIZE", "2").replace('"99"', '"3"'))
    cluster.set_status(GADGET, "g", {"conditions": [{**ready, "observedGeneration": 2}]})
    again = project.up()

    assert not first.failed
    assert "is of generation 1, wanted is 2" in stale.failures[0].message
    assert again.changes == {"same": 2, "update": 1}
    assert project.up().changes == {"same": 3}


DEPLOYMENT = """
k8s.apps.v1.Deployment("web", metadata={"name": "web", "namespace": "default"},
    spec={"replicas": 1, "selector": {"match_labels": {"app": "web"}},
          "template": {"metadata": {"labels": {"app": "web"}},
                       "spec": {"containers": [{"name": "web", "image": "example.invalid/web",
                           "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}}}]}}},
    opts=Opts(custom_timeouts=pulumi.CustomTimeouts(create="120s", delete="120s")))
"""
READY = {
    "observedGeneration": 1,
    "replicas": 1,
    "updatedReplicas": 1,
    "availableReplicas": 1,
    "readyReplicas": 1,
}


def test_deployment_is_waited_for_with_progress(project: Project, cluster: Cluster) -> None:
    """Up ends when the replicas are available; until then it says how many are."""

    def told() -> bool:
        return any(isinstance(each, events.Progress) for each in project.events)

    def finish() -> None:
        wait_until(told, "up says how far it is")
        cluster.set_status(kinds.DEPLOYMENT, "web", READY)

    other = threading.Thread(target=finish)
    other.start()
    result = project.up(DEPLOYMENT)
    other.join()

    assert not result.failed
    assert told()
    assert project.up().changes == {"same": 2}


SERVICE = """
k8s.core.v1.Service("lone", metadata={"name": "lone", "namespace": "default"},
    spec={"selector": {"app": "lone"}, "ports": [{"port": 80}]},
    opts=Opts(custom_timeouts=pulumi.CustomTimeouts(create="120s")))
"""
SLICE = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {
        "name": "lone",
        "namespace": "default",
        "labels": {"kubernetes.io/service-name": "lone"},
    },
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}}],
    "ports": [{"port": 80}],
}


def test_wait_ends_when_only_a_related_object_changes(project: Project, cluster: Cluster) -> None:
    """The Service itself stays as it is, so its watch is still being asked when the wait ends."""

    def told() -> bool:
        return any(isinstance(each, events.Progress) for each in project.events)

    def finish() -> None:
        wait_until(told, "up says what it waits for")
        time.sleep(2 * waiting.LOOK_AGAIN_SECONDS)  # by then it looks again in quiet seconds
        cluster.call(lambda kube: kube.apply(SLICE, field_manager="test"))

    other = threading.Thread(target=finish)
    other.start()
    result = project.up(SERVICE)
    other.join()
    again = project.up()
    cluster.call(lambda kube: kube.delete(kinds.ENDPOINT_SLICE, "lone", "default"))

    assert not result.failed
    assert again.changes == {"same": 2}


def test_run_killed_while_waiting_is_taken_up(project: Project, cluster: Cluster) -> None:
    """The object of a killed create is adopted and waited for, not made twice."""
    project.write(DEPLOYMENT)
    process = project.spawn("up")
    while cluster.get(kinds.DEPLOYMENT, "web") is None:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    uid = cluster.get(kinds.DEPLOYMENT, "web")["metadata"]["uid"]
    cluster.set_status(kinds.DEPLOYMENT, "web", READY)
    result = project.up()

    assert result.changes == {"same": 1, "update": 1}
    assert "default/web exists and was adopted" in project.messages()
    assert cluster.get(kinds.DEPLOYMENT, "web")["metadata"]["uid"] == uid
    assert project.up().changes == {"same": 2}


def test_stopping_cuts_a_wait_short(project: Project, cluster: Cluster) -> None:
    """Ctrl-C during a readiness wait keeps the object in the state; the next up goes on waiting."""
    project.write(DEPLOYMENT)
    process = project.spawn("up")
    while cluster.get(kinds.DEPLOYMENT, "web") is None:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    cluster.set_status(kinds.DEPLOYMENT, "web", READY)

    assert process.returncode == 3, output
    assert project.names == ["default_4_34_2", "web"]
    assert project.up().changes == {"same": 1, "update": 1}
