"""An operator that dies in the life of a build: at every write, nothing is lost or built twice."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from bex_operator import api
from bex_operator.kube import client, kinds
from bex_operator.plan import build_queue
from tests.support import build_jobs as playing
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import condition, kube, namespace, until
from tests.support.build_shop import Shop, shop
from tests.support.fault_proxy import WRITES, Fault, fault_proxy

__all__ = ["kube", "namespace"]
Begin = Callable[[], Awaitable[None]]
LIFE = (
    "PATCH apps/status",
    "POST jobs",
    "PATCH secrets",
    "PATCH jobs",
    "PATCH configmaps",
    "PATCH jobs",
    "DELETE pods",
    "POST controllerrevisions",
    "PATCH deployments",
    "PATCH services",
    "PATCH apps/status",
)
"""What an operator writes from an App with a repository to its release, in order; between the third
and the fifth more statuses may be written."""
NEXT = (
    "PATCH configmaps",
    "PATCH jobs",
    "DELETE pods",
    "POST jobs",
    "PATCH secrets",
    "PATCH jobs",
    "POST controllerrevisions",
    "PATCH deployments",
    "PATCH services",
    "PATCH apps/status",
)
"""What it writes from the end of a build, while a newer commit waits, until that one is built and
the older one is released."""
END = ("DELETE jobs", "PATCH apps")
"""What it writes of builds when the App is deleted."""


def written(request: tuple[str, str]) -> str | None:
    """Name a write by its method and what it is made to; None for what is none, or an event."""
    method, path = request
    if method not in WRITES or path.partition("?")[0].endswith("/events"):
        return None
    kind, *rest = path.partition("?")[0].partition("/namespaces/")[2].split("/")[1:]
    return f"{method} {'/'.join((kind, *rest[1:]))}"


@dataclass
class DeathAt:
    """Chooses to break everything once the *number*th write of its name has happened, unheard."""

    name: str
    number: int
    is_over: bool = False

    def __call__(self, request: web.Request) -> Fault | None:
        """Count the writes of that name."""
        if self.is_over:
            return Fault(0)
        if written((request.method, request.path)) != self.name:
            return None
        self.number -= 1
        self.is_over = self.number == 0
        return Fault(0, after=True) if self.is_over else None


def deaths(life: tuple[str, ...]) -> list[tuple[str, int]]:
    """Every write of a life by its name, and how often that name came until then."""
    return [(name, life[: place + 1].count(name)) for place, name in enumerate(life)]


async def has_moved_on(made: Shop) -> bool:
    """Whether the App says something other than that it is built."""
    app = await made.bench.get(kinds.APP)
    told = (app.get("status") or {}).get("conditions")
    return bool(told) and condition(app, "Ready")[1] not in {"Building", "BuildQueued"}


async def die(api_server: ApiServer, namespace: str, death: DeathAt, begin: Begin) -> None:
    """Run an operator until it is dead; *begin* sets it to work."""
    async with (
        fault_proxy(api_server.kubeconfig) as (proxy, access),
        client.Client(access) as own,
        shop(own, namespace, playing.Repository()),
    ):
        proxy.choose = death
        await begin()

        async def is_over() -> bool:
            return death.is_over

        await until(is_over, f"the operator dies at {death.name}")


async def test_no_write_of_a_build_is_left_out(
    api_server: ApiServer, kube: client.Client, namespace: str
) -> None:
    """Those after which an operator dies below are all that there are."""
    async with (
        playing.machines(kube, namespace),
        fault_proxy(api_server.kubeconfig) as (proxy, access),
        client.Client(access) as own,
        shop(own, namespace, playing.Repository()) as made,
    ):
        await kube.create(_app(namespace), field_manager="test")
        await until(made.image, "the App is released")

        async def is_told() -> bool:
            return await has_moved_on(made)

        async def is_gone() -> bool:
            return await made.bench.find(kinds.APP) is None

        await until(is_told, "the release is told")
        lived = {written(each) for each in proxy.requests} - {None}
        proxy.requests.clear()
        await kube.delete(kinds.APP, "web", namespace)
        await until(is_gone, "the App is gone")
        ended = {written(each) for each in proxy.requests} - {None}

    of_releases = {f"DELETE {each}" for each in ("deployments", "services", "controllerrevisions")}
    assert lived == set(LIFE)
    assert set(END) <= ended <= {*END, *of_releases, "PATCH apps/status"}


@pytest.mark.parametrize(("name", "number"), deaths(LIFE))
async def test_operator_that_dies_in_a_build_loses_nothing(
    api_server: ApiServer, kube: client.Client, namespace: str, name: str, number: int
) -> None:
    """After each of its writes in turn: built once, run, its credentials gone with it."""

    async def begin() -> None:
        await kube.create(_app(namespace), field_manager="test")

    async with playing.machines(kube, namespace) as machines:
        await die(api_server, namespace, DeathAt(name, number), begin)
        async with shop(kube, namespace, playing.Repository()) as second:

            async def is_told() -> bool:
                return await has_moved_on(second)

            await until(is_told, "the second operator has done all")
            (build,) = await second.builds()
            assert await second.image() == build.image
            secrets = (await kube.list(kinds.SECRET, namespace)).items

    assert (build.state, machines.started) == ("Succeeded", {"a" * 40: 1})
    (job,) = await _list(kube, kinds.JOB, namespace)
    assert [each["metadata"]["ownerReferences"][0]["uid"] for each in secrets] == [
        job["metadata"]["uid"]
    ]
    assert await _list(kube, kinds.CONFIG_MAP, namespace)


@pytest.mark.parametrize(("name", "number"), deaths(NEXT))
async def test_operator_that_dies_between_two_commits_loses_neither(
    api_server: ApiServer, kube: client.Client, namespace: str, name: str, number: int
) -> None:
    """The older one, whose build has ended, is released; the newer one after it, built once."""
    first, second = "a" * 40, "b" * 40
    repository = playing.Repository(first)
    death = DeathAt(name, number)
    async with playing.machines(kube, namespace) as machines:
        gates = {each: asyncio.Event() for each in (first, second)}
        machines.gates.update(gates)
        async with (
            fault_proxy(api_server.kubeconfig) as (proxy, access),
            client.Client(access) as own,
            shop(own, namespace, repository) as dying,
        ):
            await kube.create(_app(namespace), field_manager="test")
            await until(dying.jobs, "the first build begins")
            repository.head = second

            async def waits() -> bool:
                told = build_queue.reported(await kube.get(kinds.APP, "web", namespace)).waiting
                return told is not None and told.commit == second

            async def is_over() -> bool:
                return death.is_over

            await until(waits, "the second commit waits")
            proxy.choose = death
            gates[first].set()
            await until(is_over, f"the operator dies at {death.name}")
        async with shop(kube, namespace, repository) as made:
            for commit, gate in gates.items():
                gate.set()
                await until(lambda commit=commit: _runs(made, commit), f"{commit[:1]} runs")

    assert machines.started == {first: 1, second: 1}
    records = await _list(kube, kinds.CONTROLLER_REVISION, namespace)
    assert [each["data"]["made"]["commit"] for each in records] == [first, second]


async def _runs(made: Shop, commit: str) -> bool:
    image = await made.image()
    done = {each.commit: each.image for each in await made.builds()}
    return image is not None and image == done.get(commit)


@pytest.mark.parametrize("name", END)
async def test_operator_that_dies_in_an_end_leaves_no_build(
    api_server: ApiServer, kube: client.Client, namespace: str, name: str
) -> None:
    """The next one removes the Job and lets the App go."""
    async with playing.machines(kube, namespace):
        async with shop(kube, namespace, playing.Repository()) as first:
            await kube.create(_app(namespace), field_manager="test")
            await until(first.image, "the App is released")

        async def begin() -> None:
            await kube.delete(kinds.APP, "web", namespace)

        await die(api_server, namespace, DeathAt(name, 1), begin)
        async with shop(kube, namespace, playing.Repository()) as second:

            async def is_gone() -> bool:
                return await second.bench.find(kinds.APP) is None

            await until(is_gone, "the App is gone")

            assert await second.jobs() == []


def _app(namespace: str) -> dict[str, Any]:
    return api.App(name="web", repo=playing.REPO, port=8080).manifest(namespace)


async def _list(kube: client.Client, kind: kinds.Kind, namespace: str) -> list[dict[str, Any]]:
    found = await kube.list(kind, namespace)
    return [each for each in found.items if each["metadata"]["name"] != "kube-root-ca.crt"]
