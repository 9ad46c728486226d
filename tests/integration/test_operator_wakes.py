"""Which Apps an operator that has just started takes first."""

import asyncio

from bex_operator.controllers import views, wakes
from bex_operator.kube import caches, client, kinds, queues
from tests.support.apps_cluster import app_manifest, kube, namespace

__all__ = ["kube", "namespace"]


async def test_what_nobody_has_seen_goes_before_what_is_found(
    kube: client.Client, namespace: str
) -> None:
    """An App that was made while no operator ran does not wait for those that need nothing."""
    for name in ("a", "b", "c"):
        await kube.create(app_manifest(namespace, name), field_manager="test")
    seen_before = {"status": {"phase": "Running", "observedGeneration": 1}}
    for name in ("a", "b"):
        await kube.patch(kinds.APP, name, namespace, seen_before, subresource="status")
    seen = views.make(kube, namespace)
    queue: queues.Queue[caches.Key] = queues.Queue()
    wakes.Wakes(seen, queue)
    filling = asyncio.create_task(seen.apps.run())
    await asyncio.wait_for(seen.apps.synced.wait(), 60)
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)

    assert [(await queue.get())[1] for _ in range(3)] == ["c", "a", "b"]
