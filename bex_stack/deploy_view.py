"""Follows a deploy: a line whenever something about the newest release changes, until it ended."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

from rich import console as consoles
from rich import markup

from bex_operator import api
from bex_operator.api import names
from bex_operator.kube import client as kube
from bex_operator.kube import kinds
from bex_operator.plan import build_outcomes, builds
from bex_stack import app_access, build_log_view, errors, targets

TIMEOUT_SECONDS = 1800.0
"""Longer than a build and a rollout may take together."""
LAST_LINES_SECONDS = 5.0
"""How long the log of a build that has ended may take to arrive."""
COMING_REASONS = frozenset({"Building", "BuildQueued", "BuildImageUnavailable"})
"""A newer release is on its way although one serves."""


async def follow(target: targets.Target, name: str, console: consoles.Console) -> None:
    """Print how the newest release comes along, until it serves.

    Raises:
        errors.StackError: there is no such App, or its newest release was given up.
        errors.NotReady: it neither serves nor fails in time.
    """
    started = time.monotonic()

    def say(line: str) -> None:
        seconds = time.monotonic() - started
        console.print(f"{seconds:6.1f} s  {markup.escape(line)}", soft_wrap=True)

    over = asyncio.Event()
    async with app_access.client(target) as cluster:
        logs = asyncio.create_task(
            _show_builds(cluster, name, over, lambda line: console.print(line, soft_wrap=True))
        )
        try:
            await app_access.wait(
                cluster,
                name,
                has_ended,
                describe=describe,
                say=say,
                timeout_seconds=TIMEOUT_SECONDS,
            )
        finally:
            over.set()
            await asyncio.wait({logs}, timeout=LAST_LINES_SECONDS)
            logs.cancel()
            await asyncio.gather(logs, return_exceptions=True)


async def _show_builds(
    cluster: kube.Client, name: str, over: asyncio.Event, write: build_log_view.Write
) -> None:
    """Write the log of the build that runs, and of those that come after it, until it is over."""
    labels = f"{builds.BUILD_OF_LABEL}={name},{builds.NAMESPACE_LABEL}={api.NAMESPACE}"
    while not over.is_set():
        jobs = await cluster.list(kinds.JOB, names.BUILD_NAMESPACE, labels=labels)
        for job in jobs.items:
            if build_outcomes.is_running(job):
                await build_log_view.Follower(cluster, job["metadata"]["name"], write).follow()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), build_log_view.LOOK_SECONDS)


def has_ended(app: Mapping[str, Any]) -> bool:
    """Tell whether the newest release serves.

    Raises:
        errors.StackError: it was given up.
    """
    if (failure := why_given_up(app)) is not None:
        raise errors.StackError(f"App {app['metadata']['name']}: {failure}")
    return has_settled(app)


def describe(app: Mapping[str, Any]) -> str:
    """Say in one line how the newest release is."""
    status = app.get("status", {})
    newest = status.get("release", {}).get("number")
    revision = f"rev-{newest}" if newest else "no release yet"
    ready = app_access.ready_condition(app).get("message", "")
    pods = f"{status.get('readyReplicas', 0)} of {status.get('replicas', 0)} pods ready"
    said = f"{revision}: {status.get('phase', 'Pending')}, {pods}"
    return f"{said}; {ready}" if ready else said


def has_settled(app: Mapping[str, Any]) -> bool:
    """Tell whether the newest release of the newest spec serves, or the app is parked."""
    status = app.get("status", {})
    if status.get("observedGeneration") != app["metadata"]["generation"]:
        return False
    if status.get("phase") == "Hibernated":
        return True
    if app_access.ready_condition(app).get("reason") in COMING_REASONS:
        return False
    newest = status.get("release", {}).get("number")
    return bool(
        status.get("phase") == "Running" and status.get("activeRevision") == f"rev-{newest}"
    )


def why_given_up(app: Mapping[str, Any]) -> str | None:
    """Return why the newest release of the newest spec failed for good; None if it did not."""
    status = app.get("status", {})
    if status.get("observedGeneration") != app["metadata"]["generation"]:
        return None
    reason = str(app_access.ready_condition(app).get("reason", ""))
    if reason in COMING_REASONS:
        return None
    newest = status.get("release", {}).get("number")
    for outcome in status.get("history") or []:
        if outcome["number"] == newest and not outcome["served"]:
            return f"rev-{newest} was given up: {outcome.get('message') or 'no reason given'}"
    if status.get("phase") == "Failed" or reason.startswith(("BuildFailed", "BuildCancelled")):
        return str(app_access.ready_condition(app).get("message") or "failed")
    return None
