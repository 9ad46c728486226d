"""Emptying a machine before it goes: its pods are asked to leave, as their budgets allow."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from bex_operator.kube import client as kube
from bex_operator.kube import errors, kinds
from bex_stack.embedded import instance as instances
from bex_stack.embedded import nodes

DRAIN_SECONDS = 180.0
_POLL_SECONDS = 0.5
_MIRROR = "kubernetes.io/config.mirror"
Tell = Callable[[str], None]


class NotDrained(RuntimeError):
    """Pods stayed on a machine until the time was up; it stays cordoned and keeps running."""


async def drain(
    client: kube.Client,
    node: str,
    *,
    timeout_seconds: float = DRAIN_SECONDS,
    tell: Tell = lambda _message: None,
) -> None:
    """Let no new pod onto *node* and wait until the present ones have left.

    DaemonSets' and static pods stay: they belong to the machine. *tell* gets a line whenever what
    is waited for changes. A node that is not there is empty.

    Raises: NotDrained.
    """
    try:
        await client.patch(kinds.NODE, node, None, {"spec": {"unschedulable": True}})
    except errors.NotFound:
        return
    deadline = time.monotonic() + timeout_seconds
    told = ""
    while waiting := await _evict_all(client, node):
        message = f"draining {node}: {'; '.join(waiting)}"
        if message != told:
            tell(message)
            told = message
        if time.monotonic() > deadline:
            raise NotDrained(
                f"{node} is not empty after {timeout_seconds:.0f} s and keeps running, cordoned: "
                f"{'; '.join(waiting)}"
            )
        await asyncio.sleep(_POLL_SECONDS)


async def forget(client: kube.Client, node: str) -> None:
    """Delete *node* and what the API server still lists on it; the machine must be gone."""
    pods = await _pods(client, node)
    with contextlib.suppress(errors.NotFound):
        await client.delete(kinds.NODE, node)
    for pod in pods:
        meta = pod["metadata"]
        try:
            await client.delete(
                kinds.POD, meta["name"], meta["namespace"], uid=meta["uid"], grace_seconds=0
            )
        except (errors.NotFound, errors.Conflict):
            continue


def drain_machine(
    instance: instances.Instance,
    node: str,
    *,
    timeout_seconds: float = DRAIN_SECONDS,
    tell: Tell = lambda _message: None,
) -> None:
    """Drain *node* if the API server answers; without one there is nobody to move its pods.

    Raises: NotDrained.
    """

    async def run() -> None:
        async with kube.Client.from_kubeconfig(instance.kubeconfig) as client:
            if not await client.ready():
                tell(f"{node} goes without a drain: {instance.api_url} is not ready")
                return
            await drain(client, node, timeout_seconds=timeout_seconds, tell=tell)

    _run(run, tell, f"{node} goes without a drain")


def forget_machine(
    instance: instances.Instance, node: str, *, tell: Tell = lambda _message: None
) -> None:
    """Delete *node* and its last pods from the API server, if it answers."""

    async def run() -> None:
        async with kube.Client.from_kubeconfig(instance.kubeconfig) as client:
            await forget(client, node)

    _run(run, tell, f"{node} is not deleted from the API server")


def _run(action: Callable[[], Any], tell: Tell, consequence: str) -> None:
    try:
        asyncio.run(action())
    except (errors.Unreachable, OSError) as exc:
        tell(f"{consequence}: {exc}")


async def _evict_all(client: kube.Client, node: str) -> list[str]:
    """Ask every pod of *node* to leave; return what is still to wait for, one line a pod."""
    is_alive = await _is_ready(client, node)
    waiting = []
    for pod in await _pods(client, node):
        meta = pod["metadata"]
        name = f"{meta['namespace']}/{meta['name']}"
        if not _must_leave(pod):
            continue
        if meta.get("deletionTimestamp"):
            # A kubelet that is gone confirms nothing; `forget` removes the pod with the node.
            waiting += [f"{name} is ending"] if is_alive else []
            continue
        try:
            await client.evict(meta["name"], meta["namespace"])
            waiting += [f"{name} is ending"] if is_alive else []
        except errors.NotFound:
            continue
        except errors.TooManyRequests as exc:
            waiting.append(f"{name} is held back ({exc.message})")
    return waiting


async def _pods(client: kube.Client, node: str) -> list[dict[str, Any]]:
    return list((await client.list(kinds.POD, fields=f"spec.nodeName={node}")).items)


async def _is_ready(client: kube.Client, node: str) -> bool:
    try:
        return nodes.is_ready(await client.get(kinds.NODE, node))
    except errors.NotFound:
        return False


def _must_leave(pod: dict[str, Any]) -> bool:
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return False
    if _MIRROR in pod["metadata"].get("annotations", {}):
        return False
    owners = pod["metadata"].get("ownerReferences", [])
    return not any(owner["kind"] == "DaemonSet" for owner in owners)
