"""The cache against a real API server whose watches break in every way they can."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from bex_operator.kube import caches, client, errors, kinds
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import kube, namespace, until
from tests.support.fault_proxy import Fault, FaultProxy, fault_proxy

__all__ = ["kube", "namespace"]

PATIENT_SECONDS = 300.0
"""So long a watch may say nothing, where silence is not what the test is about."""
impatient = pytest.mark.parametrize("watched", [1.0], indirect=True, ids=["impatient"])


class Watched:
    """A cache of ConfigMaps behind a proxy that breaks things."""

    def __init__(self, proxy: FaultProxy, cache: caches.Cache, own: client.Client) -> None:
        self.proxy = proxy
        self.cache = cache
        self.own = own
        self.changes: list[caches.Change] = []
        cache.listen(self.changes.append)

    def lists(self) -> int:
        """How often everything was asked for."""
        return sum("resourceVersion=" not in path for _, path in self.proxy.requests)

    def values(self) -> dict[str, str]:
        """Every ConfigMap's value, by name."""
        found = (self.cache.get(*key) for key in self.cache.keys())  # noqa: SIM118
        return {each["metadata"]["name"]: each["data"]["v"] for each in found if each}


@pytest.fixture
async def watched(
    api_server: ApiServer, namespace: str, request: pytest.FixtureRequest
) -> AsyncIterator[Watched]:
    """A running cache of the test's namespace; the parameter is how long a watch may be silent."""
    silence = getattr(request, "param", PATIENT_SECONDS)
    async with (
        fault_proxy(api_server.kubeconfig) as (proxy, access),
        client.Client(access) as behind,
    ):
        scope = caches.Scope(kinds.CONFIG_MAP, namespace)
        patient = caches.Cache(behind, scope, patience=caches.Patience(silence))
        made = Watched(proxy, patient, behind)
        task = asyncio.create_task(made.cache.run())
        await asyncio.wait_for(made.cache.synced.wait(), 120)
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def write(kube: client.Client, namespace: str) -> Any:
    """Writes a ConfigMap past the proxy."""

    async def apply(name: str, value: str) -> dict[str, Any]:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace},
            "data": {"v": value},
        }
        return await kube.apply(body, field_manager="test")

    return apply


async def holds(watched: Watched, wanted: dict[str, str], seconds: float = 60.0) -> None:
    """Wait until the cache has exactly these values."""

    async def same() -> bool:
        return watched.values() == wanted

    await until(same, f"the cache has {wanted}", seconds)


async def test_changes_arrive_and_are_told(
    watched: Watched, write: Any, kube: client.Client, namespace: str
) -> None:
    """Created, changed and deleted, each with what was before and after."""
    await write("a", "1")
    await write("a", "2")
    await holds(watched, {"a": "2"})
    await kube.delete(kinds.CONFIG_MAP, "a", namespace)
    await holds(watched, {})

    told = [
        (c.before and c.before["data"]["v"], c.after and c.after["data"]["v"], c.initial)
        for c in watched.changes
    ]
    assert told == [(None, "1", False), ("1", "2", False), ("2", None, False)]
    assert "managedFields" not in watched.changes[0].after["metadata"]  # type: ignore[index]


async def test_reset_watch_goes_on_where_it_was(watched: Watched, write: Any) -> None:
    """A cut connection costs a new watch, not a new list."""
    await write("a", "1")
    await holds(watched, {"a": "1"})
    watched.proxy.reset_watches()
    await write("a", "2")

    await holds(watched, {"a": "2"})

    assert watched.lists() == 1


@impatient
async def test_silent_watch_is_given_up(watched: Watched, write: Any) -> None:
    """A half-open connection says nothing for ever; the cache lists again and tells the change."""
    watched.proxy.frozen.set()
    await write("a", "1")

    await holds(watched, {"a": "1"})

    assert watched.lists() >= 2
    assert watched.changes[0].initial


async def test_server_that_streams_nothing_is_listed(
    api_server: ApiServer, namespace: str, write: Any
) -> None:
    """Where a watch cannot begin with everything, pages are listed and then watched on from."""
    refused = '{"kind":"Status","code":422,"reason":"Invalid","message":"sendInitialEvents"}'
    await write("a", "1")
    async with fault_proxy(api_server.kubeconfig) as (proxy, access), client.Client(access) as own:
        proxy.choose = lambda r: Fault(422, refused) if "sendInitialEvents" in r.query else None
        made = Watched(proxy, caches.Cache(own, caches.Scope(kinds.CONFIG_MAP, namespace)), own)
        task = asyncio.create_task(made.cache.run())
        await holds(made, {"a": "1"})
        await write("b", "1")
        await holds(made, {"a": "1", "b": "1"})
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert [change.initial for change in made.changes] == [True, False]


async def test_stream_whose_beginning_never_ends_is_asked_for_again(
    api_server: ApiServer, namespace: str, write: Any
) -> None:
    """A bookmark that says nothing of an end tells that the one which did was lost."""
    await write("a", "1")
    async with (
        fault_proxy(api_server.kubeconfig) as (proxy, access),
        client.Client(access) as behind,
    ):
        proxy.edit = lambda line: line.replace(b"initial-events-end", b"something-else")
        cache = caches.Cache(behind, caches.Scope(kinds.CONFIG_MAP, namespace))
        task = asyncio.create_task(cache.run())

        await asyncio.wait_for(cache.synced.wait(), 120)

        assert (namespace, "a") in cache
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_kind_that_nobody_serves_yet_counts_as_none(
    kube: client.Client, namespace: str
) -> None:
    """Who needs it only if it is there need not wait for it, and hears when it comes."""
    kind = kinds.Kind("example.com", "v1", "Thing", "things", True)
    cache = caches.Cache(kube, caches.Scope(kind, namespace, optional=True))
    task = asyncio.create_task(cache.run())
    await asyncio.wait_for(cache.synced.wait(), 120)
    schema = {"type": "object"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "Thing", "plural": "things"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }
    made = {"apiVersion": "example.com/v1", "kind": "Thing"}
    made["metadata"] = {"name": "a", "namespace": namespace}  # type: ignore[assignment]

    await kube.apply(definition, field_manager="test")

    async def is_made() -> bool:
        with contextlib.suppress(errors.NotFound, errors.UnknownKind):
            return bool(await kube.apply(made, field_manager="test"))
        return False

    async def is_there() -> bool:
        return (namespace, "a") in cache

    await until(is_made, "a Thing is made")
    await until(is_there, "the Thing is in the cache")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await kube.delete(kinds.CUSTOM_RESOURCE_DEFINITION, "things.example.com")


async def test_forgotten_version_lists_again(
    watched: Watched, write: Any, kube: client.Client, namespace: str
) -> None:
    """410 Gone: what came, changed and went meanwhile is told."""
    for name in ("gone", "kept"):
        await write(name, "1")
    await holds(watched, {"gone": "1", "kept": "1"})
    gone = '{"kind":"Status","code":410,"reason":"Expired","message":"too old"}'
    left = [Fault(410, gone)]

    def choose(request: web.Request) -> Fault | None:
        return left.pop() if left and "watch" in request.query else None

    watched.proxy.frozen.set()
    watched.proxy.choose = choose
    await kube.delete(kinds.CONFIG_MAP, "gone", namespace)
    await write("new", "1")
    watched.proxy.frozen.clear()
    watched.proxy.reset_watches()

    await holds(watched, {"kept": "1", "new": "1"})


async def test_expired_event_in_a_watch_lists_again(watched: Watched, write: Any) -> None:
    """410 may come as a line of the watch too."""
    gone = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n'
    left = [gone]
    watched.proxy.edit = lambda line: left.pop() if left else line
    await write("a", "1")

    await holds(watched, {"a": "1"})

    assert watched.lists() == 2


@pytest.mark.parametrize(
    "garbage",
    [
        b'{"type":"ADD',
        b'{"type":"ADDED"}\n',
        b"[1]\n",
        b'{"type":"ADDED","object":{}}\n',
        b"\xff\xfe\n",
    ],
    ids=["truncated", "no object", "list", "no metadata", "no text"],
)
async def test_garbled_line_is_survived(watched: Watched, write: Any, garbage: bytes) -> None:
    """Whatever a broken proxy in between sends, the cache gets the truth in the end."""
    left = [garbage]

    def edit(line: bytes) -> bytes:
        if left:
            with contextlib.suppress(IndexError):
                return left.pop()
        return line

    watched.proxy.edit = edit
    await write("a", "1")
    watched.proxy.reset_watches()

    await holds(watched, {"a": "1"})


@impatient
async def test_dropped_event_is_mended_by_the_next_list(watched: Watched, write: Any) -> None:
    """An event that never came shows when the watch is given up."""
    await write("a", "1")
    await holds(watched, {"a": "1"})
    watched.proxy.edit = lambda line: None
    await write("a", "2")

    await holds(watched, {"a": "2"})


async def test_duplicated_events_are_told_once(watched: Watched, write: Any) -> None:
    """The same version twice is no change."""
    watched.proxy.edit = lambda line: line + line
    await write("a", "1")
    await write("b", "1")
    await holds(watched, {"a": "1", "b": "1"})

    assert len(watched.changes) == 2


async def test_own_write_is_there_at_once_and_its_echo_is_silent(
    watched: Watched, write: Any
) -> None:
    """A decision right after a write sees it; the watch tells nobody again."""
    watched.proxy.frozen.set()
    watched.cache.put(await write("a", "1"))
    assert watched.values() == {"a": "1"}

    watched.proxy.frozen.clear()
    watched.proxy.reset_watches()
    await write("b", "1")
    await holds(watched, {"a": "1", "b": "1"})

    assert [change.key[1] for change in watched.changes] == ["b"]


async def test_own_write_is_no_echo_while_everything_is_told(
    kube: client.Client, namespace: str, write: Any
) -> None:
    """What a cache wrote before it knows what there is, is there: it is not taken for gone."""
    cache = caches.Cache(kube, caches.Scope(kinds.CONFIG_MAP, namespace))
    cache.put(await write("a", "1"))
    task = asyncio.create_task(cache.run())
    await asyncio.wait_for(cache.synced.wait(), 120)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert (namespace, "a") in cache


async def test_echo_that_removes_is_no_echo(kube: client.Client, namespace: str) -> None:
    """A write of ours that takes an object out of what the cache selects ends it there."""
    selected = caches.Scope(kinds.CONFIG_MAP, namespace, labels="x=1")
    cache = caches.Cache(kube, selected)
    task = asyncio.create_task(cache.run())
    await asyncio.wait_for(cache.synced.wait(), 120)
    metadata = {"name": "a", "namespace": namespace, "labels": {"x": "1"}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    cache.put(await kube.create(body, field_manager="test"))
    cache.put(await kube.replace(body | {"metadata": metadata | {"labels": {}}}, field_manager="t"))

    async def gone() -> bool:
        return (namespace, "a") not in cache

    await until(gone, "the cache lets it go")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert len(cache) == 0


async def test_late_own_write_does_not_bring_back_the_dead(
    watched: Watched, write: Any, kube: client.Client, namespace: str
) -> None:
    """An answer that arrives after the object's deletion was seen is history."""
    written = await write("a", "1")
    await holds(watched, {"a": "1"})
    await kube.delete(kinds.CONFIG_MAP, "a", namespace)
    await holds(watched, {})

    watched.cache.put(written)

    assert watched.values() == {}


async def test_deleted_and_made_anew_is_another_object(
    watched: Watched, write: Any, kube: client.Client, namespace: str
) -> None:
    """Same name, new UID, even when all of it happened while nobody watched."""
    first = await write("a", "1")
    await holds(watched, {"a": "1"})
    watched.proxy.frozen.set()
    await kube.delete(kinds.CONFIG_MAP, "a", namespace)
    await write("a", "2")
    watched.proxy.frozen.clear()
    watched.proxy.reset_watches()

    await holds(watched, {"a": "2"})

    found = watched.cache.get(namespace, "a")
    assert found is not None
    assert found["metadata"]["uid"] != first["metadata"]["uid"]


async def test_unavailable_server_is_asked_again(watched: Watched, write: Any) -> None:
    """500s and refused watches end some time; then everything is there."""
    left = [Fault(500), Fault(503), Fault(0), Fault(504)]
    watched.proxy.choose = lambda _: left.pop() if left else None
    watched.proxy.reset_watches()
    await write("a", "1")

    await holds(watched, {"a": "1"})


async def test_large_object_passes(watched: Watched, write: Any) -> None:
    """An event of most of a mebibyte is one line."""
    value = "x" * 900_000
    await write("a", value)

    await holds(watched, {"a": value})
