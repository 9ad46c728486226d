"""An App's whole life under an operator whose way to the API server is broken as a plan says.

A plan is data: what goes wrong at the how-many-eth write or watch event. After each step of the
life the cluster must come to look as without faults; at the end nothing may be left to write.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from bex_operator.controllers import app, children, metrics, recorder, views
from bex_operator.kube import caches, client, kinds
from bex_operator.plan import reports
from bex_operator.registry import resolver
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import NO_REGISTRY, app_manifest
from tests.support.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.support.waiting import until

WORKERS = 4
PATIENCE = caches.Patience(silence_seconds=2.0, watch_seconds=1)
SILENT_SECONDS = 3.0
VERBS = frozenset({"POST", "PATCH", "PUT", "DELETE"})
COMPARED = (
    kinds.APP,
    kinds.CONTROLLER_REVISION,
    kinds.DEPLOYMENT,
    kinds.SERVICE,
    kinds.INGRESS,
    kinds.POD_DISRUPTION_BUDGET,
)
VOLATILE = frozenset(
    {
        *("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"),
        *("observedGeneration", "lastTransitionTime", "clusterIP", "clusterIPs"),
        *("app.bex.co/app-uid", "app.bex.co/applied"),
    }
)

ON_WRITE = {
    "crash": None,
    "reset": Fault(0),
    "late reset": Fault(0, after=True),
    "conflict": Fault(409, '{"kind":"Status","code":409,"reason":"Conflict","message":"moved"}'),
    "busy": Fault(429, '{"kind":"Status","code":429}', {"Retry-After": "0.05"}),
    "error": Fault(500, '{"kind":"Status","code":500}'),
    "unavailable": Fault(503, "no backend"),
    "late time-out": Fault(504, '{"kind":"Status","code":504}', after=True),
}
"""What may become of a write; the late ones are told after the server has done it."""
ON_EVENT = ("drop", "twice", "swap", "gone", "cut", "silence")
"""What may become of a line of a watch."""
_GONE = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n'


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong."""

    kind: str
    number: int
    """At which write, or at which event that a watch tells, from 1."""


Step = Callable[[client.Client, str], Awaitable[Any]]


async def create(kube: client.Client, namespace: str) -> None:
    """A new App."""
    host = f"web.{namespace}.example.com"
    await kube.create(app_manifest(namespace, replicas=2, host=host), field_manager="test")


async def change(kube: client.Client, namespace: str) -> None:
    """Another image."""
    await _patch(kube, namespace, {"spec": {"image": "example.com/web:2"}})


async def scale(kube: client.Client, namespace: str) -> None:
    """One replica, which needs no disruption budget."""
    await _patch(kube, namespace, {"spec": {"replicas": 1}})


async def move(kube: client.Client, namespace: str) -> None:
    """Another host."""
    await _patch(kube, namespace, {"spec": {"host": f"new.{namespace}.example.com"}})


async def roll_back(kube: client.Client, namespace: str) -> None:
    """Back to the first release."""
    metadata = {"annotations": {"app.bex.co/rollback-to": "rev-1"}}
    await _patch(kube, namespace, {"metadata": metadata})


async def suspend(kube: client.Client, namespace: str) -> None:
    """Parked."""
    await _patch(kube, namespace, {"spec": {"suspended": True}})


async def delete(kube: client.Client, namespace: str) -> None:
    """Deleted."""
    await kube.delete(kinds.APP, "web", namespace)


LIFE: tuple[Step, ...] = (create, change, scale, move, roll_back, suspend, delete)


@dataclass
class Saboteur:
    """Counts writes and events, and does what the plan says."""

    proxy: FaultProxy
    plan: Sequence[Trouble]
    writes: int = 0
    crashed: asyncio.Event = field(default_factory=asyncio.Event)
    events: int = 0
    """Lines that told something for the first time."""
    _told: set[Any] = field(default_factory=set)
    _held: dict[str, bytes] = field(default_factory=dict)
    """Lines that wait for the next one of their kind."""

    def choose(self, request: web.Request) -> Fault | None:
        """Decide on a request."""
        if self.crashed.is_set():
            return Fault(0)
        if request.method not in VERBS or request.path.endswith("/events"):
            return None
        self.writes += 1
        kind = self._due(self.writes, ON_WRITE)
        if kind == "crash":
            self.crashed.set()
            return Fault(0, after=True)
        return ON_WRITE[kind] if kind else None

    def edit(self, line: bytes) -> bytes | None:
        """Decide on a line of a watch."""
        event = orjson.loads(line)
        told_of = str(event["object"].get("kind"))
        kind = self._due(self.events, ON_EVENT) if self._is_news(event) else None
        if kind == "drop":
            return None
        if kind == "twice":
            return line + line
        if kind == "gone":
            return _GONE
        if kind == "swap":
            held, self._held[told_of] = self._held.get(told_of), line
            return held
        if kind == "cut":
            self.proxy.reset_watches()
        if kind == "silence":
            self.proxy.frozen.set()
            asyncio.get_running_loop().call_later(SILENT_SECONDS, self.proxy.frozen.clear)
        return line + self._held.pop(told_of, b"")

    def _is_news(self, event: Any) -> bool:
        """Count what is told for the first time; bookmarks and what is told anew do not count."""
        metadata = event["object"].get("metadata", {})
        news = (event["type"] == "DELETED", metadata.get("uid"), metadata.get("resourceVersion"))
        if event["type"] == "BOOKMARK" or news in self._told:
            return False
        self._told.add(news)
        self.events += 1
        return True

    def _due(self, number: int, kinds_of: Any) -> str | None:
        for trouble in self.plan:
            if trouble.number == number and trouble.kind in kinds_of:
                return trouble.kind
        return None


@contextlib.asynccontextmanager
async def operator(access: Any, namespace: str) -> AsyncIterator[app.Controller]:
    """One operator at work in a namespace, with little patience."""
    async with client.Client(access) as kube:
        seen, counted = views.make(kube, namespace), metrics.Metrics()
        for cache in seen.all:
            cache.patience = PATIENCE
        policy = app.Policy(reports.Addresses("http://{host}:8080"), lambda _: True)
        async with resolver.Resolver({"example.com": (NO_REGISTRY,)}) as images:
            controller = app.Controller(
                seen,
                policy,
                children.Writer(kube, counted),
                recorder.Recorder(kube, "test"),
                images.resolve,
            )
            # A cache or worker that dies of a bug ends the trial, as it ends the real process.
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(cache.run()) for cache in seen.all]
                tasks += [group.create_task(_work(seen, controller)) for _ in range(WORKERS)]
                try:
                    yield controller
                finally:
                    controller.queue.close()
                    for task in tasks:
                        task.cancel()


async def _work(seen: views.Views, controller: app.Controller) -> None:
    for cache in seen.all:
        await cache.synced.wait()
    await controller.work()


async def live(
    server: ApiServer,
    kube: client.Client,
    namespace: str,
    plan: Sequence[Trouble],
    ends: Sequence[Any] | None = None,
    *,
    leaders: int = 1,
    quiet_seconds: float = 0.0,
) -> list[Any]:
    """Live an App's life in *namespace*; return how the cluster looked after each step.

    With *ends* it must come to look so after each step, whatever the plan breaks; else what it
    looks like when nothing is left to do counts.
    """
    found = []
    async with fault_proxy(server.kubeconfig) as (proxy, access):
        saboteur = Saboteur(proxy, plan)
        proxy.choose, proxy.edit = saboteur.choose, saboteur.edit
        proxy.edits_beginnings = False
        running = asyncio.create_task(_keep_running(access, namespace, saboteur, leaders))
        try:
            for number, step in enumerate(LIFE):
                await step(kube, namespace)
                wanted = ends[number] if ends is not None else None
                what = f"after {step.__name__} the cluster looks as without faults"
                found.append(await _settled(kube, namespace, saboteur, wanted, what, running))
            await _stays_quiet(saboteur, quiet_seconds, leaders)
            if running.done():
                running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    return found


async def _keep_running(access: Any, namespace: str, saboteur: Saboteur, leaders: int) -> None:
    """Run the operator, and its successor after each crash."""
    while True:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(leaders):
                await stack.enter_async_context(operator(access, namespace))
            await saboteur.crashed.wait()
        saboteur.crashed.clear()


async def _settled(
    kube: client.Client,
    namespace: str,
    saboteur: Saboteur,
    wanted: Any,
    what: str,
    running: asyncio.Task[None],
) -> Any:
    found: Any = None

    async def as_wanted() -> bool:
        nonlocal found
        if running.done():
            running.result()
        before, found = found, await world(kube, namespace)
        if wanted is not None:
            return bool(found == wanted)
        writes = saboteur.writes
        await asyncio.sleep(0.5)
        return writes > 0 and found == before and saboteur.writes == writes

    try:
        await until(as_wanted, what)
    except AssertionError as exc:
        raise AssertionError(f"{exc}: {difference(found, wanted)}") from None
    return found


async def _stays_quiet(saboteur: Saboteur, seconds: float, leaders: int) -> None:
    """See that everything is looked at anew and nothing is written any more.

    Before, every leader may learn what the others have done: one that was kept in the dark still
    tries what is done.
    """
    await _look_again(saboteur, leaders)
    writes = saboteur.writes
    await _look_again(saboteur, leaders)
    await asyncio.sleep(seconds)
    assert saboteur.writes == writes, "something is written though all is as it should be"


async def _look_again(saboteur: Saboteur, leaders: int) -> None:
    """Wait until the caches ask for everything anew."""
    asked = len(saboteur.proxy.requests)

    async def looked_again() -> bool:
        return len(saboteur.proxy.requests) > asked + 6 * len(views.CHILDREN) * leaders

    await until(looked_again, "the caches ask for everything anew")


async def world(kube: client.Client, namespace: str) -> dict[str, Any]:
    """Everything that is there, without what differs from run to run."""
    found = {}
    for kind in COMPARED:
        for item in (await kube.list(kind, namespace)).items:
            found[f"{kind.kind}/{item['metadata']['name']}"] = _comparable(item, namespace)
    return found


def difference(one: Any, other: Any, path: str = "") -> str:
    """Say where two worlds differ first."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                return difference(one.get(key), other.get(key), f"{path}/{key}")
    return f"{path}: {one!r:.200} instead of {other!r:.200}"


def _comparable(value: Any, namespace: str) -> Any:
    if isinstance(value, dict):
        return {k: _comparable(v, namespace) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        return [_comparable(each, namespace) for each in value]
    return value.replace(namespace, "NS") if isinstance(value, str) else value


async def _patch(kube: client.Client, namespace: str, body: dict[str, Any]) -> None:
    await kube.patch(kinds.APP, "web", namespace, body, field_manager="test")
