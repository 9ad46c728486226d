"""The operator dies after each of its writes in turn; its successor reaches the same end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bex_operator.kube import client, kinds
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import Bench, app_manifest, kube, make_bench, namespace, until
from tests.support.fault_proxy import Crash, FaultProxy, fault_proxy

__all__ = ["kube", "namespace"]

SAME_EVERYWHERE = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "namespace")


async def create(kube: client.Client, namespace: str) -> None:
    """A new App."""
    host = f"web.{namespace}.example.com"
    await kube.create(app_manifest(namespace, replicas=2, host=host), field_manager="test")


async def change(kube: client.Client, namespace: str) -> None:
    """Another image, another host, one replica less."""
    spec = {"image": "example.com/web:2", "host": f"new.{namespace}.example.com", "replicas": 1}
    await kube.patch(kinds.APP, "web", namespace, {"spec": spec}, field_manager="test")


async def rollback(kube: client.Client, namespace: str) -> None:
    """Back to the first release."""
    metadata = {"annotations": {"app.bex.co/rollback-to": "rev-1"}}
    await kube.patch(kinds.APP, "web", namespace, {"metadata": metadata}, field_manager="test")


async def suspend(kube: client.Client, namespace: str) -> None:
    """Parked."""
    body = {"spec": {"suspended": True}}
    await kube.patch(kinds.APP, "web", namespace, body, field_manager="test")


async def delete(kube: client.Client, namespace: str) -> None:
    """Deleted."""
    await kube.delete(kinds.APP, "web", namespace)


Step = Callable[[client.Client, str], Awaitable[None]]
STEPS: tuple[Step, ...] = (create, change, rollback, suspend, delete)


@contextlib.asynccontextmanager
async def crashing(
    api_server: ApiServer, namespace: str, writes: int
) -> AsyncIterator[tuple[FaultProxy, Bench]]:
    """An operator that dies after so many writes."""
    async with (
        fault_proxy(api_server.kubeconfig) as (proxy, access),
        client.Client(access) as own,
        make_bench(own, namespace, namespace) as bench,
    ):
        proxy.choose = Crash(writes)
        yield proxy, bench


async def world(kube: client.Client, namespace: str) -> dict[str, Any]:
    """Everything that is there, without what differs from run to run."""
    found = {}
    for kind in (
        kinds.APP,
        kinds.CONTROLLER_REVISION,
        kinds.DEPLOYMENT,
        kinds.SERVICE,
        kinds.INGRESS,
        kinds.POD_DISRUPTION_BUDGET,
    ):
        for item in (await kube.list(kind, namespace)).items:
            found[f"{kind.kind}/{item['metadata']['name']}"] = _comparable(item, namespace)
    return found


def _comparable(value: Any, namespace: str) -> Any:
    if isinstance(value, dict):
        left = {k: v for k, v in value.items() if k not in SAME_EVERYWHERE}
        for volatile in ("app.bex.co/app-uid", "app.bex.co/applied", "lastTransitionTime"):
            left.pop(volatile, None)
        left.pop("clusterIP", None)
        left.pop("clusterIPs", None)
        left.pop("generation", None)
        return {key: _comparable(each, namespace) for key, each in left.items()}
    if isinstance(value, list):
        return [_comparable(each, namespace) for each in value]
    return value.replace(namespace, "NS") if isinstance(value, str) else value


async def prepare(kube: client.Client, namespace: str, step: Step) -> None:
    """Take every step before *step*, without faults."""
    for earlier in STEPS[: STEPS.index(step)]:
        await earlier(kube, namespace)
        async with make_bench(kube, namespace, namespace) as bench:
            await bench.work_until_quiet()


@pytest.fixture(scope="session")
def ends() -> dict[str, dict[str, Any]]:
    """The world after each step when nothing goes wrong; filled by the first who asks."""
    return {}


async def fault_free(kube: client.Client, step: Step, ends: dict[str, Any]) -> dict[str, Any]:
    """The world after *step* when nothing goes wrong."""
    name = step.__name__
    if name not in ends:
        namespace = f"fault-free-{name}"
        metadata = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        await kube.create(metadata, field_manager="test")
        await prepare(kube, namespace, step)
        await step(kube, namespace)
        async with make_bench(kube, namespace, namespace) as bench:
            await bench.work_until_quiet()
        ends[name] = await world(kube, namespace)
    return dict(ends[name])


WRITES_OF_STEP = dict(zip(STEPS, (6, 5, 3, 2, 7), strict=True))
"""Exactly the release and children that differ, the status, and the finalizer where due."""

CASES = [(step, writes) for step, count in WRITES_OF_STEP.items() for writes in range(count)]


@pytest.mark.parametrize(
    ("step", "writes"), CASES, ids=[f"{step.__name__}-{writes}" for step, writes in CASES]
)
async def test_successor_of_a_crash_reaches_the_same_end(
    api_server: ApiServer,
    kube: client.Client,
    namespace: str,
    ends: dict[str, Any],
    step: Step,
    writes: int,
) -> None:
    """The last write of the dead one happened, though its answer was never read."""
    wanted = await fault_free(kube, step, ends)
    await prepare(kube, namespace, step)
    async with crashing(api_server, namespace, writes) as (proxy, bench):
        await step(kube, namespace)
        workers = asyncio.create_task(bench.controller.work())
        await until(_dead(proxy), f"the operator is dead after {writes + 1} writes")
        bench.controller.queue.close()
        await workers

    async with make_bench(kube, namespace, namespace) as successor:
        await successor.work_until_quiet()

    assert await world(kube, namespace) == wanted


def _dead(proxy: FaultProxy) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        assert isinstance(proxy.choose, Crash)
        return proxy.choose.left < 0

    return holds
