"""Apps that no machine takes, against a real API server that knows of a machine."""

from bex_operator.kube import kinds
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
