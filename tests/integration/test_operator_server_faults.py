"""What may go wrong with the server and its rules while Apps live, each fault by its number."""

import asyncio
import contextlib
import copy
import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bex_operator import api
from bex_operator.kube import caches, client, errors, kinds, kubeconfig
from tests.support.api_server import ApiServer, run_api_server
from tests.support.apps_cluster import (
    Bench,
    app_manifest,
    bench,
    condition,
    kube,
    make_bench,
    namespace,
)
from tests.support.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.support.waiting import until

__all__ = ["bench", "kube", "namespace"]


@contextlib.asynccontextmanager
async def broken(api_server: ApiServer, namespace: str) -> AsyncIterator[tuple[FaultProxy, Bench]]:
    """An operator whose way to the server the test breaks."""
    async with (
        fault_proxy(api_server.kubeconfig) as (proxy, access),
        client.Client(access) as behind,
        make_bench(behind, namespace, namespace) as made,
    ):
        yield proxy, made


async def serving(bench: Bench) -> dict[str, Any]:
    """An App that is Ready."""
    await bench.create()
    await bench.reconcile()
    await bench.play()
    return await bench.reconcile()


async def test_fault_10_watch_that_tells_only_bookmarks_is_not_trusted_for_ever(
    api_server: ApiServer, kube: client.Client, namespace: str
) -> None:
    """It looks alive and tells nothing: in the end everything is asked for anew."""
    async with fault_proxy(api_server.kubeconfig) as (proxy, access), client.Client(access) as own:
        scope = caches.Scope(kinds.APP, namespace)
        cache = caches.Cache(own, scope, patience=caches.Patience(watch_seconds=2))
        running = asyncio.create_task(cache.run())
        await asyncio.wait_for(cache.synced.wait(), 120)
        proxy.edits_beginnings = False
        proxy.edit = lambda line: line if b'"BOOKMARK"' in line else None

        await kube.create(app_manifest(namespace), field_manager="test")

        await until(functools.partial(holds, cache, {"web"}), "the App is known")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def holds(cache: caches.Cache, names: set[str]) -> bool:
    """Whether the cache has these objects."""
    return {name for _, name in cache.keys()} == names  # noqa: SIM118 - not a mapping


async def test_fault_13_status_that_conflicts_again_and_again_comes_in_the_end(
    api_server: ApiServer, namespace: str
) -> None:
    """Twenty times somebody was faster; no write of a child is repeated for it."""
    async with broken(api_server, namespace) as (proxy, bench):
        await bench.create()
        left = [Fault(409, '{"kind":"Status","code":409,"reason":"Conflict"}')] * 20
        proxy.choose = lambda request: (
            left.pop() if left and request.path.endswith("/status") else None
        )
        for _ in range(20):
            with pytest.raises(errors.Conflict):
                await bench.reconcile()
        before = bench.writes()

        app = await bench.reconcile()

        assert condition(app, "Ready")[1] == "RolloutProgressing"
        assert bench.writes() == before + 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(401, '{"kind":"Status","code":401,"reason":"Unauthorized"}'), errors.Unauthorized),
        (Fault(403, '{"kind":"Status","code":403,"reason":"Forbidden"}'), errors.Forbidden),
    ],
    ids=["token expired", "right taken"],
)
async def test_fault_18_right_lost_for_one_kind_harms_nothing_else(
    api_server: ApiServer, namespace: str, fault: Fault, error: type[errors.KubeError]
) -> None:
    """What could be done is done; what could not is, when the right is back."""
    async with broken(api_server, namespace) as (proxy, bench):
        await bench.create(host=f"{namespace}.example.com")
        proxy.choose = lambda request: fault if "/ingresses" in request.path else None
        with pytest.raises(error):
            await bench.reconcile()
        assert await bench.find(kinds.DEPLOYMENT) is not None
        app = await bench.kube.get(kinds.APP, "web", namespace)
        assert "True" not in {
            each["status"]
            for each in app.get("status", {}).get("conditions", [])
            if each["type"] == "Ready"
        }

        proxy.choose = lambda _: None
        await bench.reconcile()

        assert await bench.find(kinds.INGRESS) is not None


async def test_fault_17_restored_server_is_believed(
    api_server: ApiServer, kube: client.Client, namespace: str
) -> None:
    """Its versions are older than those seen: what it has counts, and nothing of later."""

    def config_map(name: str, value: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": namespace}
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        return made | {"data": {"v": value}}

    with run_api_server() as backup:
        async with (
            client.Client.from_kubeconfig(backup.kubeconfig) as restored,
            fault_proxy(api_server.kubeconfig) as (proxy, access),
            client.Client(access) as own,
        ):
            made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            await restored.create(made, field_manager="test")
            old = await restored.create(config_map("kept", "old"), field_manager="test")
            # A watch from a version that is still to come says nothing for a while.
            patience = caches.Patience(silence_seconds=2.0)
            scope = caches.Scope(kinds.CONFIG_MAP, namespace)
            cache = caches.Cache(own, scope, patience=patience)
            running = asyncio.create_task(cache.run())
            await kube.create(config_map("lost", "new"), field_manager="test")
            newest = await kube.create(config_map("kept", "new"), field_manager="test")
            while version_of(newest) <= version_of(old) + 100:
                newest = await kube.apply(
                    config_map("kept", str(version_of(newest))), field_manager="test"
                )
            await until(functools.partial(is_at, cache, newest), "the newest is known")

            proxy.access = kubeconfig.load(backup.kubeconfig)
            proxy.reset_watches()

            await until(functools.partial(is_at, cache, old), "the older one is believed")
            assert await holds(cache, {"kept"})
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def version_of(manifest: dict[str, Any]) -> int:
    """An object's version."""
    return int(manifest["metadata"]["resourceVersion"])


async def is_at(cache: caches.Cache, wanted: dict[str, Any]) -> bool:
    """Whether the cache has this version of an object."""
    found = cache.get(wanted["metadata"]["namespace"], wanted["metadata"]["name"])
    return found is not None and version_of(found) == version_of(wanted)


async def test_fault_30_required_field_that_came_later_stops_no_app(
    bench: Bench, kube: client.Client
) -> None:
    """Objects from before lack it: they are reported on, changed by the operator, and deleted."""
    await serving(bench)
    upgraded = copy.deepcopy(api.crd())
    (version,) = upgraded["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["team"] = {"type": "string"}
    spec["required"] = [*spec.get("required", []), "team"]
    try:
        await kube.apply(upgraded, field_manager="test")
        await until(lambda: takes_new_apps(kube, wanted=False), "new Apps need the field")
        for pod in await bench.pods():
            await bench.remove_pod(pod)
        app = await bench.reconcile()
        assert condition(app, "Ready")[:2] == ("False", "Scaling")
        await bench.play()
        app = await bench.reconcile()
        assert condition(app, "Ready")[0] == "True"
        await bench.assert_settled()

        await bench.delete_app()
        await bench.work_until_quiet()

        assert await bench.find(kinds.APP) is None
    finally:
        await kube.apply(api.crd(), field_manager="test")
        await until(lambda: takes_new_apps(kube, wanted=True), "Apps are as they were")


async def takes_new_apps(kube: client.Client, *, wanted: bool) -> bool:
    """Whether the server takes (or refuses) an App of today."""
    try:
        await kube.create(app_manifest("default"), field_manager="test", dry_run=True)
    except errors.Invalid:
        return not wanted
    return wanted


async def test_fault_36_server_without_the_status_of_apps_is_told_apart(
    api_server: ApiServer, namespace: str
) -> None:
    """Children are as they should be and the App is not taken for gone; Ready waits to be said."""
    async with broken(api_server, namespace) as (proxy, bench):
        await bench.create()
        absent = Fault(404, '{"kind":"Status","code":404,"reason":"NotFound"}')
        proxy.choose = lambda request: absent if request.path.endswith("/status") else None
        with pytest.raises(errors.NotFound):
            await bench.reconcile()
        deployment = await bench.get(kinds.DEPLOYMENT)
        assert "status" not in await bench.get(kinds.APP)
        assert (namespace, "web") in bench.views.apps

        proxy.choose = lambda _: None
        app = await bench.reconcile()

        assert condition(app, "Ready")[1] == "RolloutProgressing"
        assert await bench.get(kinds.DEPLOYMENT) == deployment
