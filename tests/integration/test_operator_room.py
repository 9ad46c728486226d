"""Apps that no machine takes, against a real API server that knows of a machine."""

import pytest

from bex_operator.kube import errors, kinds
from tests.support.apps_cluster import Bench, bench, condition, kube, namespace

__all__ = ["bench", "kube", "namespace"]


async def test_app_without_room_hears_how_much_there_is(bench: Bench) -> None:
    """Machines are looked at once in a while, only for those that wait."""
    status = {
        "allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"},
        "capacity": {"cpu": "1", "memory": "1Gi", "pods": "10"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    name = f"m-{bench.namespace}"
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    await bench.kube.create(node, field_manager="test")
    await bench.kube.patch(kinds.NODE, name, None, {"status": status}, subresource="status")
    await bench.create(tier="pro-ultra")
    await bench.reconcile()
    unscheduled = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu. preemption: none.",
    }

    await bench.play(ready=0, phase="Pending", conditions=[unscheduled])
    app = await bench.reconcile()

    await bench.kube.delete(kinds.NODE, name)
    status_, reason, message = condition(app, "Ready")
    assert (status_, reason) == ("False", "Unschedulable")
    assert message.startswith(
        "no machine has room: a replica needs 8 CPU and 32Gi memory; the largest machine has"
    )
    assert message.endswith("(0/1 nodes are available: 1 Insufficient cpu.)")
    await bench.assert_settled()


async def test_app_over_its_quota_hears_which_and_how_much_is_used(bench: Bench) -> None:
    """In the words that the API server refuses its pods with."""
    hard = {"requests.cpu": "1"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": hard}}
    quota["metadata"] = {"name": "team-a", "namespace": bench.namespace}
    await bench.kube.create(quota, field_manager="test")
    used = {"status": {"hard": hard, "used": {"requests.cpu": "700m"}}}
    await bench.kube.patch(
        kinds.RESOURCE_QUOTA, "team-a", bench.namespace, used, subresource="status"
    )
    await bench.create(tier="starter")
    await bench.reconcile()
    template = (await bench.get(kinds.DEPLOYMENT))["spec"]["template"]
    with pytest.raises(errors.Forbidden) as refused:
        await bench.make_pod("web-1", template, ready=False)
    failed = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    failed["message"] = refused.value.message
    await bench.play_deployment(replicas=0, updatedReplicas=0, conditions=[failed])

    app = await bench.reconcile()

    status, reason, message = condition(app, "Ready")
    assert (status, reason) == ("False", "RolloutBlockedByQuota")
    assert "exceeded quota: team-a" in message
    for words in ("requested: requests.cpu=500m", "used: requests.cpu=700m", "limited: "):
        assert words in message
    await bench.assert_settled()
