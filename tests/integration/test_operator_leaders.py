"""Two operators that both believe they lead: the one that is behind undoes nothing.

One keeps its lease through its own clock, the other through what its writes carry: the version
that each was decided from. Both are real, against a real API server.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from bex_operator.kube import client, errors, kinds, leases
from tests.integration.test_operator_process import Start, start
from tests.support import sweeps, trials
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import app_manifest, kube, namespace
from tests.support.fault_proxy import WRITES, Fault, FaultProxy, fault_proxy
from tests.support.lives import LIFE
from tests.support.sweeps import sweep
from tests.support.waiting import until

__all__ = ["kube", "namespace", "start", "sweep"]


@dataclass
class Slow:
    """While it is told so, every write of one leader is long on its way; the other's come after."""

    proxy: FaultProxy
    until: asyncio.Event | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """The slow one has sent something."""
    sent: int = 0

    def choose(self, request: web.Request) -> Fault | None:
        """Decide on a request of the slow one."""
        if self.until is None or not _writes(request):
            return None
        self.sent += 1
        self.begun.set()
        return Fault(until=self.until)

    def let_it_begin(self, request: web.Request) -> Fault | None:
        """Decide on a request of the quick one."""
        return Fault(until=self.begun) if self.until is not None and _writes(request) else None


def _writes(request: web.Request) -> bool:
    return request.method in WRITES and not request.path.endswith("/events")


@pytest.fixture
async def slow(api_server: ApiServer, kube: client.Client, namespace: str) -> AsyncIterator[Slow]:
    """One leader whose way is slow, and another beside it."""
    async with contextlib.AsyncExitStack() as stack:
        proxy, access = await stack.enter_async_context(fault_proxy(api_server.kubeconfig))
        made = Slow(proxy)
        proxy.choose = made.choose
        await stack.enter_async_context(trials.operator(access, namespace, "slow"))
        other, straight = await stack.enter_async_context(fault_proxy(api_server.kubeconfig))
        other.choose = made.let_it_begin
        await stack.enter_async_context(trials.operator(straight, namespace, "quick"))
        yield made


async def looks(kube: client.Client, namespace: str, wanted: object) -> None:
    """Wait until the cluster looks so."""

    async def so() -> bool:
        return bool(await trials.world(kube, namespace, wanted) == wanted)

    await until(so, "the cluster looks as with one leader")


@pytest.mark.parametrize("first", [0, 1])
async def test_writes_of_a_leader_that_is_behind_change_nothing(
    sweep: sweeps.Sweep, kube: client.Client, namespace: str, slow: Slow, first: int
) -> None:
    """What it decided for one state of the App arrives when the App is in the next already."""
    ends = (await sweep.reference("life")).ends
    for number, step in enumerate(LIFE):
        if number % 2 == first and number + 1 < len(LIFE):
            slow.begun.clear()
            slow.until = asyncio.Event()
        await step(kube, namespace)
        await looks(kube, namespace, ends[number])
        if number % 2 != first and slow.until is not None:
            before = await trials.versions(kube, namespace)
            go, slow.until = slow.until, None
            go.set()
            await until(lambda: _all_answered(slow), "all that was on its way arrives")
            # Only what makes an object for the first time cannot say what it was decided from.
            if number > 1:
                assert await trials.versions(kube, namespace) == before
            await looks(kube, namespace, ends[number])


async def _all_answered(slow: Slow) -> bool:
    return len(slow.proxy.held) == slow.sent > 0


async def test_leader_that_was_stopped_for_long_writes_nothing(
    kube: client.Client, namespace: str, start: Start
) -> None:
    """It wakes with work in its hands and an old belief; its lease is long another's."""
    old = start("--leader-elect", "--identity", "old")
    await until(old.leads, "the first leads")
    await kube.create(app_manifest(namespace, replicas=2), field_manager="test")
    await _says(kube, namespace, 1)
    old.process.send_signal(signal.SIGSTOP)
    new = start("--leader-elect", "--identity", "new")
    await until(new.leads, "the second leads")
    await kube.patch(kinds.APP, "web", namespace, {"spec": {"image": "example.com/web:2"}})
    await _says(kube, namespace, 2)
    before = await trials.versions(kube, namespace)

    old.process.send_signal(signal.SIGCONT)

    await asyncio.to_thread(old.process.wait, 60)
    assert await trials.versions(kube, namespace) == before


async def _says(kube: client.Client, namespace: str, generation: int) -> None:
    async def said() -> bool:
        found = await kube.get(kinds.APP, "web", namespace)
        return bool(found.get("status", {}).get("observedGeneration") == generation)

    await until(said, f"generation {generation} is taken in")


async def test_write_after_the_lease_ran_out_is_not_sent(
    kube: client.Client, namespace: str
) -> None:
    """Nobody has to notice first that it ran out."""
    election = leases.Election(kube, leases.Lease(namespace, "bex-operator", "first"))
    fenced = kube.fenced(election.check)
    with pytest.raises(errors.NotLeading):
        await fenced.create(app_manifest(namespace), field_manager="test")
    await election.acquire()
    await fenced.create(app_manifest(namespace), field_manager="test")

    election._renewed -= leases.RENEW_SECONDS

    with pytest.raises(errors.NotLeading):
        await fenced.delete(kinds.APP, "web", namespace)
    assert await fenced.get(kinds.APP, "web", namespace)
