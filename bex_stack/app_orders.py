"""Orders to one app: restart, suspend, resume. Each changes one field and waits for its effect.

The fields belong to `bex-cli` then, so a later `up` of an unchanged program leaves them alone.
"""

import asyncio
import datetime
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich import console as consoles
from rich import markup

from bex_operator import api
from bex_operator.kube import client as kube
from bex_operator.kube import kinds
from bex_stack import app_access, errors, targets

TIMEOUT_SECONDS = 180.0
POLL_SECONDS = 0.5
MANAGER = "bex-cli"


async def restart(
    target: targets.Target, name: str, console: consoles.Console, *, now: datetime.datetime
) -> str:
    """Replace every pod by a fresh one without a gap, wait, and say what happened.

    Raises:
        errors.StackError: there is no such App, or it is parked.
        errors.NotReady: the new pods do not serve in time.
    """
    async with app_access.client(target) as cluster:
        before = await app_access.read(cluster, name)
        if before["spec"].get("suspended"):
            raise errors.StackError(f"App {name} is suspended: there is nothing to restart")
        stamp = now.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        generation = await _order(cluster, name, {"restartedAt": stamp})
        after = await _wait(cluster, name, generation, console, _serves)
    return f"restarted as {after['status']['activeRevision']}"


async def suspend(target: targets.Target, name: str, console: consoles.Console) -> str:
    """Park an app: no pods, its name and releases kept; wait until its pods are gone."""
    async with app_access.client(target) as cluster:
        before = await app_access.read(cluster, name)
        if before["spec"].get("suspended"):
            return "is suspended already"
        generation = await _order(cluster, name, {"suspended": True})
        await _wait(cluster, name, generation, console, _is_parked)
    return "suspended; `bex resume` brings it back"


async def resume(target: targets.Target, name: str, console: consoles.Console) -> str:
    """Bring a parked app back and wait until it serves.

    Raises:
        errors.StackError: the program itself parks it.
        errors.NotReady: it does not serve in time.
    """
    if any(app.name == name and app.suspended for app in target.apps):
        raise errors.StackError(
            f"App {name}: its definition says suspended=True; change it there and run `bex up`"
        )
    async with app_access.client(target) as cluster:
        before = await app_access.read(cluster, name)
        if not before["spec"].get("suspended"):
            return "is not suspended"
        generation = await _order(cluster, name, {"suspended": None})
        after = await _wait(cluster, name, generation, console, _serves)
    return f"serves again as {after['status']['activeRevision']}"


async def _order(cluster: kube.Client, name: str, change: Mapping[str, Any]) -> int:
    """Patch the spec; return the generation that has the change."""
    changed = await cluster.patch(
        kinds.APP, name, api.NAMESPACE, {"spec": change}, field_manager=MANAGER
    )
    return int(changed["metadata"]["generation"])


async def _wait(
    cluster: kube.Client,
    name: str,
    generation: int,
    console: consoles.Console,
    is_done: Callable[[Mapping[str, Any]], bool],
) -> dict[str, Any]:
    """Wait until the operator reports *is_done* of *generation* or a later one."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    said = ""
    while True:
        app = await app_access.read(cluster, name)
        status = app.get("status", {})
        if status.get("observedGeneration", 0) >= generation and is_done(status):
            return app
        message = app_access.ready_condition(app).get("message") or "the operator has not seen it"
        if message != said:
            console.print(f"  {name}: {markup.escape(message)}", soft_wrap=True)
            said = message
        if time.monotonic() > deadline:
            raise errors.NotReady(f"App {name} after {TIMEOUT_SECONDS:.0f} s: {message}")
        await asyncio.sleep(POLL_SECONDS)


def _serves(status: Mapping[str, Any]) -> bool:
    newest = status.get("release", {}).get("number")
    return status.get("phase") == "Running" and status.get("activeRevision") == f"rev-{newest}"


def _is_parked(status: Mapping[str, Any]) -> bool:
    return status.get("phase") == "Hibernated" and not status.get("replicas")
