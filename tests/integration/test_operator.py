"""State in, one reconcile, state out, against a real API server; again, and nothing changes."""

import asyncio

from bex_operator.kube import kinds
from tests.support.apps_cluster import Bench, bench, condition, kube, namespace

__all__ = ["bench", "kube", "namespace"]


async def test_new_app_gets_its_children_and_a_first_status(bench: Bench) -> None:
    """Deployment, Service, Ingress and budget are made, and the status says what is going on."""
    await bench.create(replicas=2, host="web.example.com", port=8080)

    app = await bench.reconcile()

    assert app["status"]["phase"] == "Deploying"
    assert app["status"]["url"] == "http://web.example.com:8080"
    assert condition(app, "Ready")[:2] == ("False", "RolloutProgressing")
    assert app["metadata"]["finalizers"] == ["app.bex.co/finalizer"]
    for kind in (kinds.DEPLOYMENT, kinds.SERVICE, kinds.INGRESS, kinds.POD_DISRUPTION_BUDGET):
        child = await bench.get(kind)
        assert child["metadata"]["ownerReferences"][0]["uid"] == app["metadata"]["uid"]
    assert bench.writes() == 6  # finalizer, four children, status
    await bench.assert_settled()


async def test_app_with_ready_pods_runs(bench: Bench) -> None:
    """Once every replica of the revision is ready the App is Running at its URL."""
    await bench.create(replicas=2, host="runs.example.com")
    await bench.reconcile()
    await bench.play()

    app = await bench.reconcile()

    assert app["status"]["phase"] == "Running"
    assert app["status"]["activeRevision"] == "rev-1"
    assert app["status"]["image"] == "example.com/web:1"
    assert app["status"]["readyReplicas"] == 2
    assert condition(app, "Ready") == ("True", "Deployed", "2/2 replicas ready")
    await bench.assert_settled()
    await asyncio.sleep(0)
