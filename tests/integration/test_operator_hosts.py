"""Hosts over all namespaces: first come keeps a host, and giving it up passes it on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from bex_operator.kube import client, kinds
from bex_operator.plan import claims
from tests.support.apps_cluster import (
    Bench,
    app_manifest,
    bench,
    condition,
    kube,
    make_bench,
    namespace,
    until,
)

__all__ = ["bench", "kube", "namespace"]


def host_of(bench: Bench, name: str = "shared") -> str:
    """A host of the test's own."""
    return f"{name}.{bench.namespace}.example.com"


async def routed(bench: Bench, name: str) -> list[str]:
    """Hosts that the App's Ingress routes."""
    ingress = await bench.find(kinds.INGRESS, name)
    return [rule["host"] for rule in ingress["spec"]["rules"]] if ingress else []


async def two(bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two Apps that want one host; the first has it, the second has another as well."""
    await bench.create("first", host=host_of(bench))
    await bench.create("second", host=host_of(bench).upper(), hosts=[host_of(bench, "own")])
    return await bench.reconcile("first"), await bench.reconcile("second")


async def test_loser_keeps_its_other_hosts_and_names_the_winner(bench: Bench) -> None:
    """The second to ask does not get the host, is told who has it, and is reached otherwise."""
    first, second = await two(bench)

    assert condition(first, "HostsClaimed")[0] == "True"
    status, reason, message = condition(second, "HostsClaimed")
    assert (status, reason) == ("False", "HostTaken")
    assert f"{bench.namespace}/first" in message
    assert await routed(bench, "first") == [host_of(bench)]
    assert await routed(bench, "second") == [host_of(bench, "own")]
    assert second["status"]["url"] == f"http://{host_of(bench, 'own')}:8080"
    await bench.assert_settled("first")
    await bench.assert_settled("second")


async def test_older_app_cannot_take_a_host_that_is_routed(bench: Bench) -> None:
    """What counts is who had the host first, not who is older."""
    await bench.create("older")
    await bench.reconcile("older")
    await bench.create("younger", host=host_of(bench))
    await bench.reconcile("younger")
    await bench.change("older", host=host_of(bench))

    older = await bench.reconcile("older")

    assert condition(older, "HostsClaimed")[1] == "HostTaken"
    assert await routed(bench, "younger") == [host_of(bench)]


async def test_host_given_up_passes_to_the_next(bench: Bench) -> None:
    """When the winner lets a host go, the loser is woken and gets it."""
    await two(bench)
    await bench.drain_queue()
    await bench.change("first", host=host_of(bench, "elsewhere"))
    await bench.reconcile("first")

    assert (bench.namespace, "second") in await bench.drain_queue()
    second = await bench.reconcile("second")
    assert condition(second, "HostsClaimed")[0] == "True"
    assert await routed(bench, "second") == [host_of(bench), host_of(bench, "own")]


async def test_deleted_winner_passes_its_host_on(bench: Bench) -> None:
    """Once the winner's Ingress is gone, the loser is woken and gets the host."""
    await two(bench)
    await bench.drain_queue()
    await bench.delete_app("first")
    await bench.controller.reconcile((bench.namespace, "first"))
    await bench.gone(kinds.INGRESS, "first")

    assert (bench.namespace, "second") in await bench.drain_queue()
    second = await bench.reconcile("second")
    assert condition(second, "HostsClaimed")[0] == "True"


@contextlib.asynccontextmanager
async def everywhere(kube: client.Client, namespace: str) -> AsyncIterator[Bench]:
    """An operator for the test's namespace and another, `<namespace>-b`."""
    other = f"{namespace}-b"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}
    await kube.create(manifest, field_manager="test")
    mine = {namespace, other}
    async with make_bench(kube, namespace, None, manages=lambda each: each in mine) as made:
        yield made


async def test_wildcard_of_another_namespace_keeps_its_names(
    kube: client.Client, namespace: str
) -> None:
    """Under a wildcard only its own namespace gets names; the loser is told what overlaps."""
    async with everywhere(kube, namespace) as bench:
        zone = f"{namespace}.example.com"
        await bench.create("first", host=f"*.{zone}")
        first = await bench.reconcile("first")
        await bench.create("near", host=f"near.{zone}")
        stranger = app_manifest(f"{namespace}-b", "far", host=f"far.{zone}")
        await bench.seen(bench.views.apps, await kube.create(stranger, field_manager="test"))

        near = await bench.reconcile("near")
        await bench.controller.reconcile((f"{namespace}-b", "far"))

        far = await kube.get(kinds.APP, "far", f"{namespace}-b")
        assert first["status"]["urls"][1:] == [f"http://*.{zone}:8080"]
        assert condition(near, "HostsClaimed")[0] == "True"
        status, reason, message = condition(far, "HostsClaimed")
        assert (status, reason) == ("False", "HostTaken")
        assert f"overlaps with '*.{zone}', which belongs to App {namespace}/first" in message
        await bench.assert_settled("near")


async def test_wildcard_given_up_frees_the_names_under_it(
    kube: client.Client, namespace: str
) -> None:
    """Whoever was kept out by a wildcard is woken and gets its host."""
    async with everywhere(kube, namespace) as bench:
        zone = f"{namespace}.example.com"
        await bench.create("first", host=f"*.{zone}")
        await bench.reconcile("first")
        key = (f"{namespace}-b", "far")
        stranger = app_manifest(key[0], "far", host=f"far.{zone}")
        await bench.seen(bench.views.apps, await kube.create(stranger, field_manager="test"))
        await bench.controller.reconcile(key)
        await bench.drain_queue()

        await bench.change("first", host=None)
        await bench.reconcile("first")

        assert key in await bench.drain_queue()
        await bench.controller.reconcile(key)
        far = await kube.get(kinds.APP, "far", key[0])
        assert condition(far, "HostsClaimed")[0] == "True"


async def test_deleted_winner_passes_its_host_on_to_those_that_wait(bench: Bench) -> None:
    """From the deletion of one App to the route of the next, with workers running."""
    workers = [asyncio.create_task(bench.controller.work()) for _ in range(2)]
    await bench.create("first", host=host_of(bench))
    await until(lambda: _routes(bench, "first"), "the first has the host")
    await bench.create("second", host=host_of(bench))

    await bench.kube.delete(kinds.APP, "first", bench.namespace)

    await until(lambda: _routes(bench, "second"), "the second has the host")
    bench.controller.queue.close()
    await asyncio.gather(*workers)


async def _routes(bench: Bench, name: str) -> bool:
    return await routed(bench, name) == [host_of(bench)]


async def test_reserved_host_is_the_platforms(kube: client.Client, namespace: str) -> None:
    """An App does not get it and keeps its other hosts."""
    registry, own = f"registry.{namespace}.example.com", f"own.{namespace}.example.com"
    platform = claims.Platform(None, frozenset({registry}))
    async with make_bench(kube, namespace, namespace, platform=platform) as bench:
        await bench.create(host=registry, hosts=[own])

        app = await bench.reconcile()

        message = f"host {registry!r} is reserved for the platform"
        assert condition(app, "HostsClaimed") == ("False", "HostReserved", message)
        assert await routed(bench, "web") == [own]


async def test_exposed_app_gets_a_name_under_the_base_domain(
    kube: client.Client, namespace: str
) -> None:
    """The platform's name comes after the main host; the status lists every address."""
    domain = f"{namespace}.apps.example.com"
    async with make_bench(kube, namespace, namespace, platform=claims.Platform(domain)) as bench:
        await bench.create(host=f"a.{namespace}.example.com", expose=True)

        app = await bench.reconcile()

        hosts = [f"a.{namespace}.example.com", f"web.{domain}"]
        assert await routed(bench, "web") == hosts
        assert app["status"]["urls"] == [f"http://{host}:8080" for host in hosts]
        await bench.assert_settled()


async def test_expose_without_a_base_domain_says_so(bench: Bench) -> None:
    """The App runs, and the condition names the field."""
    await bench.create(expose=True)

    app = await bench.reconcile()

    assert condition(app, "HostsClaimed")[:2] == ("False", "NoBaseDomain")
    assert await bench.find(kinds.DEPLOYMENT) is not None
    await bench.assert_settled()


async def test_longest_name_is_taken_by_every_child(bench: Bench) -> None:
    """An App's name may have 63 characters, and no child's name is cut."""
    name = "a" * 63
    await bench.create(name, replicas=2, host=host_of(bench))

    await bench.reconcile(name)

    for kind in (kinds.DEPLOYMENT, kinds.SERVICE, kinds.INGRESS, kinds.POD_DISRUPTION_BUDGET):
        assert await bench.find(kind, name) is not None
    await bench.assert_settled(name)
