"""Deletions, smooth and not, against a real API server."""

import asyncio
import datetime
from collections.abc import AsyncIterator

import pytest

from bex_operator.api import names
from bex_operator.kube import client, errors, kinds
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import (
    Bench,
    bench,
    condition,
    kube,
    make_bench,
    namespace,
    running,
    until,
)

__all__ = ["bench", "kube", "namespace", "running"]

CHILDREN = (kinds.DEPLOYMENT, kinds.SERVICE, kinds.INGRESS, kinds.POD_DISRUPTION_BUDGET)


class Clock:
    """A clock that a test moves."""

    ahead = datetime.timedelta()

    def __call__(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + self.ahead


async def hold(bench: Bench, *finalizers: str) -> client.Object:
    """Let the Ingress wait for somebody else's finalizers."""
    body = {"metadata": {"finalizers": list(finalizers)}}
    return await bench.kube.patch(kinds.INGRESS, "web", bench.namespace, body)


@pytest.fixture
async def stuck(kube: client.Client, namespace: str) -> AsyncIterator[tuple[Bench, Clock]]:
    """A deleted App whose Ingress waits for somebody else."""
    clock = Clock()
    async with make_bench(kube, namespace, namespace, clock=clock) as bench:
        await bench.create(host=f"web.{namespace}.example.com")
        await bench.reconcile()
        await bench.seen(bench.views.children["Ingress"], await hold(bench, "example.com/hold"))
        await bench.delete_app()
        await bench.controller.reconcile((namespace, "web"))
        await bench.settle_caches()
        yield bench, clock


async def test_slow_deletion_is_given_a_quarter_of_an_hour(stuck: tuple[Bench, Clock]) -> None:
    """Until then nothing is said, and it is looked at again when the time is over."""
    bench, _ = stuck

    patience = await bench.controller.reconcile((bench.namespace, "web"))

    assert patience is not None
    assert 840 < patience <= 900
    app = await bench.get(kinds.APP)
    assert "DeletionStalled" not in {each["type"] for each in app["status"]["conditions"]}
    await hold(bench)


async def test_stuck_deletion_is_told_and_never_forced(stuck: tuple[Bench, Clock]) -> None:
    """The condition names what is in the way, once; the stages after it wait."""
    bench, clock = stuck
    clock.ahead = datetime.timedelta(minutes=16)

    pause = await bench.controller.reconcile((bench.namespace, "web"))

    app = await bench.get(kinds.APP)
    message = "Ingress 'web' waits for its finalizers: example.com/hold"
    assert pause == 30
    assert condition(app, "DeletionStalled") == ("True", "NotGoneInTime", message)
    assert app["metadata"]["finalizers"] == [names.FINALIZER]
    assert await bench.find(kinds.DEPLOYMENT) is not None
    writes = bench.writes()
    await bench.controller.reconcile((bench.namespace, "web"))
    assert bench.writes() == writes
    await hold(bench)


async def test_deletion_goes_on_when_the_way_is_free(stuck: tuple[Bench, Clock]) -> None:
    """What was stalled ends like any other."""
    bench, clock = stuck
    clock.ahead = datetime.timedelta(minutes=16)
    await bench.controller.reconcile((bench.namespace, "web"))

    await hold(bench)

    for _ in range(3):
        await bench.settle_caches()
        await bench.controller.reconcile((bench.namespace, "web"))
    assert await bench.find(kinds.APP) is None


async def test_namespace_that_ends_takes_its_apps_along(
    kube: client.Client, namespace: str, controllers: ApiServer
) -> None:
    """The operator lets its Apps go, makes nothing anew, and stays well."""
    async with make_bench(kube, namespace, namespace) as bench:
        workers = [asyncio.create_task(bench.controller.work()) for _ in range(2)]
        for name in ("one", "two"):
            await bench.create(name, host=f"{name}.{namespace}.example.com")
        await until(lambda: _made(bench), "both Apps are acted on")

        await kube.delete(kinds.NAMESPACE, namespace)

        await until(lambda: _is_gone(kube, namespace), "the namespace is gone")
        assert all(not worker.done() for worker in workers)
        failures = [
            sample
            for family in bench.metrics.failures.collect()
            for sample in family.samples
            if sample.labels.get("error") not in {"Conflict", "Forbidden", "NotFound"}
        ]
        assert [each for each in failures if each.name.endswith("_total")] == []
        bench.controller.queue.close()
        await asyncio.gather(*workers)


async def _made(bench: Bench) -> bool:
    return all([await bench.find(kinds.INGRESS, each) for each in ("one", "two")])


async def _is_gone(kube: client.Client, namespace: str) -> bool:
    try:
        await kube.get(kinds.NAMESPACE, namespace)
    except errors.NotFound:
        return True
    return False


async def test_deleted_app_leaves_nothing_and_routes_go_first(running: Bench) -> None:
    """First the Ingress, then the rest, then the finalizer."""
    await running.delete_app()

    await running.controller.reconcile((running.namespace, "web"))

    assert await running.find(kinds.INGRESS) is None
    assert await running.find(kinds.DEPLOYMENT) is not None
    assert await running.find(kinds.APP) is not None
    await running.gone(kinds.INGRESS)
    await running.controller.reconcile((running.namespace, "web"))
    for kind in CHILDREN:
        await running.gone(kind)
        assert await running.find(kind) is None
    await running.controller.reconcile((running.namespace, "web"))
    await running.settle_caches()
    await running.controller.reconcile((running.namespace, "web"))
    assert await running.find(kinds.APP) is None
    assert (await running.kube.list(kinds.CONTROLLER_REVISION, running.namespace)).items == []


async def test_delete_spares_an_object_that_took_the_name(running: Bench) -> None:
    """What is deleted is deleted by UID: a newcomer of the same name stays."""
    await running.kube.delete(kinds.SERVICE, "web", running.namespace)
    newcomer = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": running.namespace},
        "spec": {"ports": [{"port": 1}]},
    }
    made = await running.kube.create(newcomer, field_manager="foreign")
    await running.seen(running.views.children["Service"], made)
    await running.delete_app()

    for _ in range(4):
        await running.controller.reconcile((running.namespace, "web"))
        await running.settle_caches()

    assert await running.find(kinds.APP) is None
    assert (await running.get(kinds.SERVICE))["metadata"]["uid"] == made["metadata"]["uid"]
