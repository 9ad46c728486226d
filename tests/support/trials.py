"""An App's whole life under an operator whose way to the API server is broken as a plan says.

After each step of the life the cluster must come to look as without faults; at the end nothing
may be left to write.
"""

import asyncio
import contextlib
import functools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.controllers import app, children, metrics, recorder, views
from bex_operator.kube import caches, client, kinds
from bex_operator.plan import reports
from bex_operator.registry import resolver
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import NO_REGISTRY
from tests.support.fault_proxy import fault_proxy
from tests.support.lives import LIVES, collect
from tests.support.saboteurs import Saboteur, Trouble
from tests.support.waiting import until

WORKERS = 4
CREATED = 201
"""What the server answers where there was no object of the name."""
PATIENCE = caches.Patience(silence_seconds=2.0, watch_seconds=1)
NO_PATIENCE = caches.Patience(silence_seconds=2.0, watch_seconds=0)
"""Where nothing is held to what a watch told: everything is asked for anew whenever one ends."""
WATCH_SECONDS = 0.3
"""How long a watch then lasts."""
COMPARED = (
    kinds.APP,
    kinds.CONTROLLER_REVISION,
    kinds.DEPLOYMENT,
    kinds.SERVICE,
    kinds.INGRESS,
    kinds.POD_DISRUPTION_BUDGET,
    kinds.HORIZONTAL_POD_AUTOSCALER,
    kinds.JOB,
)
VOLATILE = frozenset(
    {
        *("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"),
        *("observedGeneration", "lastTransitionTime", "clusterIP", "clusterIPs"),
        *("app.bex.co/app-uid", "app.bex.co/applied", "at", "placedAt", "startedAt", "readyAt"),
        *("batch.kubernetes.io/controller-uid", "controller-uid"),
    }
)
CACHES = len(views.CHILDREN) + 4
"""How many caches an operator keeps here."""
LOOK_AGAIN_SECONDS = 2.0
"""What changed without a write of the operator is looked for so often."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A life, and what goes wrong in it; as text like "full life, 2 leaders: drop 3, crash 12"."""

    plan: tuple[Trouble, ...] = ()
    leaders: int = 1
    life: str = "life"

    def __str__(self) -> str:
        """Write what `read` reads."""
        plan = ", ".join(f"{each.kind} {each.number}" for each in self.plan)
        return f"{self.life}, {self.leaders} leaders: {plan}"

    @classmethod
    def read(cls, text: str) -> "Trial":
        """Read what was written."""
        head, _, plan = text.partition(":")
        life, _, leaders = head.partition(",")
        pairs = (each.rpartition(" ") for each in plan.split(",") if each.strip())
        troubles = tuple(Trouble(kind.strip(), int(number)) for kind, _, number in pairs)
        return cls(troubles, int(leaders.split()[0]), life.strip())


@dataclass(frozen=True, slots=True)
class Lived:
    """How the cluster looked after each step, and how many places there were to go wrong."""

    ends: tuple[Any, ...]
    writes: int
    reads: int
    events: int


async def live(
    server: ApiServer,
    kube: client.Client,
    namespace: str,
    trial: Trial,
    ends: Sequence[Any] | None = None,
    *,
    quiet_seconds: float = 0.0,
) -> Lived:
    """Live an App's life in *namespace*.

    With *ends* it must come to look so after each step, whatever the plan breaks; else what it
    looks like when nothing is left to do counts, and that shows sooner where watches are short.
    """
    found = []
    patience = PATIENCE if ends is not None else NO_PATIENCE
    async with fault_proxy(server.kubeconfig) as (proxy, access):
        saboteur = Saboteur(proxy, trial.plan)
        proxy.choose, proxy.edit = saboteur.choose, saboteur.edit
        proxy.edits_beginnings = False
        proxy.watch_seconds = WATCH_SECONDS if ends is None else None
        leaders = [
            functools.partial(operator, access, namespace, f"leader-{number}", patience)
            for number in range(trial.leaders)
        ]
        running = asyncio.create_task(_keep_running(leaders, saboteur))
        scene = Scene(kube, namespace, saboteur, running, trial.leaders)
        try:
            for number, step in enumerate(LIVES[trial.life]):
                held = saboteur.held
                await step(kube, namespace)
                wanted = ends[number] if ends is not None else None
                what = f"after {step.__name__} ({number + 1}) the cluster looks as without faults"
                found.append(await scene.comes_to(wanted, what))
                if held is not None:
                    await scene.deliver(wanted, harmless=number > 1)
            await scene.stays_quiet(quiet_seconds)
            if running.done():
                running.result()
        finally:
            saboteur.delivered.set()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    return Lived(tuple(found), saboteur.writes, saboteur.reads, saboteur.events)


@contextlib.asynccontextmanager
async def operator(
    access: Any, namespace: str, name: str, patience: caches.Patience = PATIENCE
) -> AsyncIterator[app.Controller]:
    """One operator at work in a namespace, with little patience."""
    async with client.Client(access, user_agent=name) as kube:
        seen, counted = views.make(kube, namespace), metrics.Metrics()
        for cache in seen.all:
            cache.patience = patience
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


async def _keep_running(leaders: Sequence[Callable[[], Any]], saboteur: Saboteur) -> None:
    """Run the operators, and their successors after each crash."""
    while True:
        async with contextlib.AsyncExitStack() as stack:
            for leader in leaders:
                await stack.enter_async_context(leader())
            await saboteur.crashed.wait()
        saboteur.crashed.clear()


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a life is lived, as one who looks at it sees it."""

    kube: client.Client
    namespace: str
    saboteur: Saboteur
    running: asyncio.Task[None]
    leaders: int

    async def comes_to(self, wanted: Any, what: str) -> Any:
        """Wait until the cluster looks as *wanted*, or, if that is None, no longer changes."""
        found: Any = None
        looked, due = -1, 0.0

        async def as_wanted() -> bool:
            nonlocal found, looked, due
            if self.running.done():
                self.running.result()
            answered = self.saboteur.proxy.answered
            if answered == looked and time.monotonic() < due:
                return False
            if wanted is None:
                writes = self.saboteur.writes
                await self.look_again(times=1)
                found = await world(self.kube, self.namespace)
                return self.saboteur.writes == writes > 0
            looked, due = answered, time.monotonic() + LOOK_AGAIN_SECONDS
            found = await world(self.kube, self.namespace, wanted)
            return bool(found == wanted)

        try:
            await until(as_wanted, what)
        except AssertionError as exc:
            raise AssertionError(f"{exc}: {difference(found, wanted)}") from None
        return found

    async def deliver(self, wanted: Any, *, harmless: bool) -> None:
        """Let what was held reach the server: by now it must change nothing.

        What makes an object for the first time cannot say what it was decided from: then others
        put right what it does, and the cluster's garbage collector if its App is gone.
        """
        what = self.saboteur.held
        before = await versions(self.kube, self.namespace)
        self.saboteur.held = None
        self.saboteur.delivered.set()

        async def answered() -> bool:
            return bool(self.saboteur.proxy.held)

        await until(answered, f"the server answers {what}")
        answer = self.saboteur.proxy.held[-1]
        if harmless and answer != CREATED:
            after = await versions(self.kube, self.namespace)
            assert after == before, f"{what} came late and did harm ({answer})"
        if answer == CREATED:
            await collect(self.kube, self.namespace, COMPARED)
        await self.comes_to(wanted, f"{what} that came late has no consequence")

    async def stays_quiet(self, seconds: float) -> None:
        """See that everything is looked at anew and nothing is written any more.

        Before, every leader may learn what the others have done: one that was kept in the dark
        still tries what is done.
        """
        await self.look_again()
        writes = self.saboteur.writes
        await self.look_again(times=1)
        await asyncio.sleep(seconds)
        assert self.saboteur.writes == writes, "something is written though all is as it should be"

    async def look_again(self, times: int = 2) -> None:
        """Wait until every cache of every leader has asked for everything anew.

        Once one asks a second time, the first is through.
        """
        before = self._beginnings()

        async def looked_again() -> bool:
            if self.running.done():
                self.running.result()
            now = self._beginnings()
            return len(now) >= self.leaders * CACHES and all(
                count >= before[each] + times for each, count in now.items()
            )

        await until(looked_again, "the caches ask for everything anew")

    def _beginnings(self) -> Counter[tuple[str, str]]:
        return Counter(self.saboteur.beginnings)


async def world(kube: client.Client, namespace: str, wanted: Any = None) -> dict[str, Any]:
    """Everything that is there, without what differs from run to run.

    Not all of it, where what was found so far is not as *wanted* already.
    """
    found = {}
    for kind in COMPARED:
        for item in (await kube.list(kind, namespace)).items:
            found[f"{kind.kind}/{item['metadata']['name']}"] = _comparable(item, namespace)
        if wanted is not None and any(wanted.get(each) != found[each] for each in found):
            break
    return found


async def versions(kube: client.Client, namespace: str) -> dict[str, str]:
    """In which version everything is there."""
    return {
        f"{kind.kind}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for kind in COMPARED
        for item in (await kube.list(kind, namespace)).items
    }


def difference(one: Any, other: Any, path: str = "") -> str:
    """Say where two worlds differ first."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                return difference(one.get(key), other.get(key), f"{path}/{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (each, peer) in enumerate(zip(one, other, strict=True)):
            if each != peer:
                return difference(each, peer, f"{path}/{number}")
    return f"{path}: {one!r:.300} instead of {other!r:.300}"


def _comparable(value: Any, namespace: str) -> Any:
    if isinstance(value, dict):
        return {k: _comparable(v, namespace) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        return [_comparable(each, namespace) for each in value]
    return _alike(value).replace(namespace, "NS") if isinstance(value, str) else value


def _alike(text: str) -> str:
    """How a registry where nobody listens does not answer depends on how busy the machine is."""
    return text.replace("ConnectionTimeoutError", "ClientConnectorError")
