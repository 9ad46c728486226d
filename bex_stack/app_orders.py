"""Orders to one app: restart, suspend, resume, roll back. Each waits for its effect."""

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from rich import console as consoles
from rich import markup

from bex_operator.api import names
from bex_operator.kube import client as kube
from bex_stack import app_access, deploy_view, errors, release_table, targets

TIMEOUT_SECONDS = 180.0


async def restart(
    target: targets.Target, name: str, console: consoles.Console, *, now: datetime.datetime
) -> str:
    """Replace every pod by a fresh one without a gap, wait, and say what happened.

    Raises:
        errors.StackError: there is no such App, it is parked, or the new pods were given up.
        errors.NotReady: the new pods do not serve in time.
    """
    async with app_access.client(target) as cluster:
        before = await app_access.read(cluster, name)
        if before["spec"].get("suspended"):
            raise errors.StackError(f"App {name} is suspended: there is nothing to restart")
        stamp = now.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        await app_access.change(cluster, name, spec={"restartedAt": stamp})
        after = await _wait(cluster, name, console, _later_than(before))
    return f"restarted as {after['status']['activeRevision']}"


async def suspend(target: targets.Target, name: str, console: consoles.Console) -> str:
    """Park an app: no pods, its name and releases kept; wait until its pods are gone."""
    async with app_access.client(target) as cluster:
        before = await app_access.read(cluster, name)
        if before["spec"].get("suspended"):
            return "is suspended already"
        await app_access.change(cluster, name, spec={"suspended": True})
        await _wait(cluster, name, console, _is_parked)
    return "suspended; `bex resume` brings it back"


async def resume(target: targets.Target, name: str, console: consoles.Console) -> str:
    """Bring a parked app back and wait until it serves.

    Raises:
        errors.StackError: the program itself parks it, or its release was given up.
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
        await app_access.change(cluster, name, spec={"suspended": None})
        after = await _wait(cluster, name, console, deploy_view.has_ended)
    return f"serves again as {after['status']['activeRevision']}"


async def roll_back(
    target: targets.Target, name: str, revision: str | None, console: consoles.Console
) -> str:
    """Go back to a release, wait until what restores it serves, and say what happened.

    Raises:
        errors.StackError: there is no such release, or what restores it was given up.
        errors.NotReady: it does not serve in time.
    """
    async with app_access.client(target) as cluster:
        before = await release_table.read(cluster, name)
        wanted, newest = before.target(revision), before.kept[0][0]
        ordered = (before.app["metadata"].get("annotations") or {}).get(names.ROLLBACK_ANNOTATION)
        if newest.rollback_to == wanted.number and ordered == wanted.revision:
            return f"{newest.revision} restores {wanted.revision} already"
        order = {names.ROLLBACK_ANNOTATION: wanted.revision}
        await app_access.change(cluster, name, annotations=order)
        after = await _wait(cluster, name, console, _later_than(before.app))
    return f"{after['status']['activeRevision']} serves and restores {wanted.revision}"


async def _wait(
    cluster: kube.Client,
    name: str,
    console: consoles.Console,
    is_done: Callable[[Mapping[str, Any]], bool],
) -> dict[str, Any]:
    def say(words: str) -> None:
        console.print(f"  {name}: {markup.escape(words)}", soft_wrap=True)

    return await app_access.wait(
        cluster,
        name,
        is_done,
        describe=deploy_view.describe,
        say=say,
        timeout_seconds=TIMEOUT_SECONDS,
    )


def _later_than(before: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    """Tell of an App whether a later release serves than *before*: the old one serves meanwhile."""

    def is_done(app: Mapping[str, Any]) -> bool:
        return _release_of(app) > _release_of(before) and deploy_view.has_ended(app)

    return is_done


def _release_of(app: Mapping[str, Any]) -> int:
    return int(app.get("status", {}).get("release", {}).get("number", 0))


def _is_parked(app: Mapping[str, Any]) -> bool:
    status = app.get("status", {})
    is_seen = status.get("observedGeneration") == app["metadata"]["generation"]
    return is_seen and status.get("phase") == "Hibernated" and not status.get("replicas")
