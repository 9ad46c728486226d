"""Whatever happens to an app, its machines and the operator: no request is lost.

The last file of the stack that the system tests share: it leaves releases behind.
"""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bex_operator import api
from bex_operator.kube import client as kube
from bex_operator.kube import kinds
from bex_stack.embedded import drain
from components.manifests import operator_pod
from tests.support import load, requests, stacks
from tests.support.waiting import until

FLOOR = 500
"""Fewer requests than this would prove nothing; an idle host sends thousands."""


class Cluster:
    """The app `hello` and the operator, as the API server has them."""

    def __init__(self, client: kube.Client, instance: str) -> None:
        self.client = client
        self._instance = instance

    async def app(self) -> dict[str, Any]:
        """Read the App."""
        return await self.client.get(kinds.APP, "hello", api.NAMESPACE)

    async def change(self, **spec: Any) -> None:
        """Change the App's spec and wait until it is so."""
        await self.client.patch(kinds.APP, "hello", api.NAMESPACE, {"spec": spec})
        await self.settled()

    async def settled(self, besides: str = "") -> None:
        """Wait until the App is Ready as its spec is now, in another release than *besides*."""

        async def is_so() -> bool:
            found = await self.app()
            status = found.get("status", {})
            ready = [c for c in status.get("conditions", []) if c["type"] == "Ready"]
            return (
                bool(ready)
                and ready[0]["status"] == "True"
                and ready[0]["observedGeneration"] == found["metadata"]["generation"]
                and status["readyReplicas"] == found["spec"]["replicas"]
                and status["activeRevision"] != besides
            )

        await until(is_so, "hello is Ready")

    async def revision(self) -> str:
        """Which release serves."""
        return str((await self.app())["status"]["activeRevision"])

    async def leader(self) -> str:
        """Name the pod that holds the lease."""
        lease = await self.client.get(kinds.LEASE, "bex-operator", api.SYSTEM_NAMESPACE)
        return str(lease["spec"].get("holderIdentity", "")).rpartition("-")[0]

    async def places(self) -> set[str]:
        """Machines of the app's pods that are not about to leave."""
        found = await self.client.list(kinds.POD, api.NAMESPACE)
        staying = [pod for pod in found.items if "deletionTimestamp" not in pod["metadata"]]
        return {str(pod["spec"]["nodeName"]) for pod in staying}

    def kill_operators(self) -> None:
        """Kill -9 every container of the operator, as the kernel does when memory is short."""
        for cgroup in Path("/proc").glob("[0-9]*/cgroup"):
            try:
                is_ours = f"/{self._instance}/" in cgroup.read_text()
                command = cgroup.with_name("cmdline").read_bytes()
            except OSError:
                continue
            if is_ours and b"bex_operator" in command:
                os.kill(int(cgroup.parent.name), signal.SIGKILL)

    async def pods(self) -> list[dict[str, Any]]:
        """The operator's pods."""
        labels = f"app.kubernetes.io/name={operator_pod.NAME}"
        return list((await self.client.list(kinds.POD, api.SYSTEM_NAMESPACE, labels=labels)).items)


async def deploy(cluster: Cluster, _stack: stacks.Stack) -> None:
    """A new release."""
    await cluster.change(env=[{"name": "ROUND", "value": "1"}])


async def scale(cluster: Cluster, _stack: stacks.Stack) -> None:
    """More replicas, and fewer."""
    await cluster.change(replicas=4)
    await cluster.change(replicas=2)


async def roll_back(cluster: Cluster, stack: stacks.Stack) -> None:
    """The release before comes back."""
    before = await cluster.revision()
    await asyncio.to_thread(stack.bex, "rollback", "hello")
    await cluster.settled(besides=before)


async def kill_the_operator(cluster: Cluster, _stack: stacks.Stack) -> None:
    """All its processes die in the middle of a deploy, which they finish when they are back."""
    await cluster.client.patch(
        kinds.APP, "hello", api.NAMESPACE, {"spec": {"env": [{"name": "ROUND", "value": "2"}]}}
    )
    cluster.kill_operators()
    await cluster.settled()

    async def restarted() -> bool:
        counts = [
            status["restartCount"]
            for pod in await cluster.pods()
            for status in pod["status"].get("containerStatuses", [])
        ]
        return bool(counts) and min(counts) > 0

    await until(restarted, "the operator's containers were restarted")


async def delete_the_operators_pod(cluster: Cluster, _stack: stacks.Stack) -> None:
    """The leading pod goes in the middle of a deploy; another takes over."""
    leader = await cluster.leader()
    await cluster.client.patch(
        kinds.APP, "hello", api.NAMESPACE, {"spec": {"env": [{"name": "ROUND", "value": "3"}]}}
    )
    await cluster.client.delete(kinds.POD, leader, api.SYSTEM_NAMESPACE)
    await cluster.settled()

    async def led_by_another() -> bool:
        return await cluster.leader() not in {"", leader}

    await until(led_by_another, "another pod leads")


async def drain_machines(cluster: Cluster, stack: stacks.Stack) -> None:
    """The app's machine is emptied onto a new one, which then is emptied and removed."""
    await asyncio.to_thread(stack.bex, "machines", "scale", "2", "--yes")
    await drain.drain(cluster.client, "worker-1")
    await cluster.settled()
    assert await cluster.places() == {"worker-2"}

    await cluster.client.patch(kinds.NODE, "worker-1", None, {"spec": {"unschedulable": False}})
    await asyncio.to_thread(stack.bex, "machines", "scale", "1", "--yes")
    await cluster.settled()
    assert await cluster.places() == {"worker-1"}


ACTIONS: tuple[Callable[[Cluster, stacks.Stack], Awaitable[None]], ...] = (
    deploy,
    scale,
    roll_back,
    kill_the_operator,
    delete_the_operators_pod,
    drain_machines,
)


@pytest.fixture
async def hello(stack: stacks.Stack) -> Any:
    """The shared stack's app, put back as its module says in the end."""
    async with kube.Client.from_kubeconfig(requests.kubeconfig(stack)) as client:
        cluster = Cluster(client, stack.instance)
        await cluster.settled()
        yield cluster
        await cluster.change(env=None, replicas=2)


async def test_no_request_is_lost(stack: stacks.Stack, hello: Cluster) -> None:
    """200 requests a second while everything happens that an app lives through.

    A slow host may send fewer; every one of them is answered by its own number all the same.
    """
    lost: dict[str, list[str]] = {}
    with load.Load(stack.http_port, "hello.localhost") as sending:
        for action in ACTIONS:
            began = len(sending.lost)
            await action(hello, stack)
            if len(sending.lost) > began:
                lost[action.__name__] = sending.lost[began:][:5]

    assert lost == {}
    assert sending.lost == []
    assert len(sending.answered) == sending.sent
    assert sending.sent > FLOOR


def test_nothing_has_drifted(stack: stacks.Stack) -> None:
    """After all of it an up has nothing to do, and the operator's pods are where they belong."""
    assert stack.changes() == {}
    machines = json.loads(stack.bex("status", "--json").stdout)["machines"]
    places = [
        machine["name"]
        for machine in machines
        for pod in machine["pods"]
        if pod["name"].startswith(operator_pod.NAME)
    ]
    assert sorted(places) == ["control-plane", "worker-1"]
