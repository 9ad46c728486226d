"""The builds of one app: asks for one, ends one, and reads what the newest printed."""

import asyncio
import datetime
import getpass
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bex_operator import api
from bex_operator.api import names
from bex_operator.kube import build_logs, kinds
from bex_operator.kube import client as kube
from bex_operator.kube import errors as kube_errors
from bex_operator.plan import build_outcomes, build_queue, webhooks
from bex_stack import app_access, build_log_view, errors, targets

CANCEL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants deployed, and since when."""

    at: datetime.datetime
    ref: str | None
    """Instead of the app's branch."""
    clear_cache: bool


async def deploy(target: targets.Target, name: str, asked: Asked) -> str:
    """Ask the operator to deploy; say what was asked.

    Raises:
        errors.StackError: there is no such App, or it has no repository.
    """
    async with app_access.client(target) as cluster:
        spec = (await _with_repository(cluster, name))["spec"]
        request: dict[str, Any] = {
            "at": asked.at.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        }
        if asked.ref is not None:
            request["ref"] = asked.ref
        if asked.clear_cache:
            request["clearCache"] = True
        request["by"] = getpass.getuser()
        annotations = {names.DEPLOY_ANNOTATION: json.dumps(request)}
        await app_access.change(cluster, name, annotations=annotations)
    ref = asked.ref or spec.get("branch", "main")
    return f"deploys {ref} of {spec['repo']}; `bex deploys {name} --follow` shows how it goes"


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """A build that can be cancelled."""

    job: str
    commit: str
    wanted: str
    """Since when it is due."""
    runs: bool


async def cancel(target: targets.Target, name: str, commit: str | None = None) -> str:
    """End the build that runs, or of *commit*, else the one that waits; say what happened.

    What serves goes on. *commit* may be cut short.

    Raises:
        errors.StackError: there is no such App, or it has no such build.
        errors.NotReady: the build does not end in time.
    """
    async with app_access.client(target) as cluster:
        return await cancel_in(cluster, name, commit)


async def cancel_in(cluster: kube.Client, name: str, commit: str | None = None) -> str:
    """Do what `cancel` does through *cluster*."""
    app = await _with_repository(cluster, name)
    found = [
        each for each in await _unfinished(cluster, app) if each.commit.startswith(commit or "")
    ]
    if not found:
        of = f" of {commit}" if commit else ""
        raise errors.StackError(f"App {name} has no build{of} that runs or waits")
    build = found[0]
    asked = {"job": build.job, "wanted": build.wanted, "by": getpass.getuser()}
    await app_access.change(cluster, name, annotations={names.CANCEL_ANNOTATION: json.dumps(asked)})
    ended = await _end_of(cluster, name, build)
    said = f"the build of {build.commit[:7]} {ended}; `bex deploy {name}` starts one"
    if len(found) > 1:
        next_ = found[1].commit[:7]
        said += f"; that of {next_} comes next: `bex cancel {name} {next_}` ends it, too"
    return said


async def _unfinished(cluster: kube.Client, app: Mapping[str, Any]) -> list[_Unfinished]:
    """Return the builds that can be cancelled: first those that run."""
    found = [
        _Unfinished(build.job, build.commit, build_outcomes.read_started(job).wanted, runs=True)
        for job in await _jobs(cluster, app)
        if (build := build_outcomes.read(job)).state == "Running"
    ]
    waits = build_queue.reported(app).waiting
    if waits is not None and waits.job not in {each.job for each in found}:
        found.append(_Unfinished(waits.job, waits.commit, waits.since, runs=False))
    return found


async def _end_of(cluster: kube.Client, name: str, asked: _Unfinished) -> str:
    """Wait for the end of a build; say how it ended."""
    deadline = time.monotonic() + CANCEL_SECONDS
    while True:
        # The line is read first: a build leaves it only when its Job is there.
        waits = build_queue.reported(await app_access.read(cluster, name)).waiting
        try:
            job = await cluster.get(kinds.JOB, asked.job, names.BUILD_NAMESPACE)
            build = build_outcomes.read(job)
            if build.state != "Running":
                return "cancelled" if build.state == "Cancelled" else "had ended before"
        except kube_errors.NotFound:
            if asked.runs:
                return "had ended before"
            if waits is None or waits.job != asked.job:
                return "is not wanted any more"
        if time.monotonic() > deadline:
            raise errors.NotReady(f"App {name}: its build goes on after {CANCEL_SECONDS:.0f} s")
        await asyncio.sleep(app_access.POLL_SECONDS)


async def webhook(target: targets.Target, name: str) -> dict[str, str]:
    """Return what a git server has to be told to tell of pushes: URL, content type and secret.

    Raises:
        errors.StackError: there is no such App, it has no repository, or the stack's key is not
            on this host.
    """
    from bex_stack.embedded import overlay, registry  # Pulumi: only who asks pays for it

    key = registry.token_key(target.instance)
    if not target.embedded.has_operator_pod or not key.exists():
        raise errors.StackError(
            f"stack {target.stack} takes no webhooks: its operator is no pod of this host"
        )
    async with app_access.client(target) as cluster:
        app = await _with_repository(cluster, name)
    path = webhooks.path_of(api.NAMESPACE, name)
    return {
        "url": f"http://{overlay.WEBHOOK_HOST}:{target.instance.edge_http_port}{path}",
        "contentType": "application/json",
        "secret": webhooks.secret_of(key.read_bytes(), app["metadata"]["uid"]),
    }


async def read_log(target: targets.Target, name: str) -> str:
    """Return what the newest build printed so far, or what was kept of it.

    Raises:
        errors.StackError: there is no such App, or it was never built.
    """
    async with app_access.client(target) as cluster:
        job = (await _newest(cluster, name))["metadata"]["name"]
        try:
            return build_logs.unpack(
                await cluster.get(kinds.CONFIG_MAP, job, names.BUILD_NAMESPACE)
            )
        except kube_errors.NotFound:
            label = f"batch.kubernetes.io/job-name={job}"
            pods = await cluster.list(kinds.POD, names.BUILD_NAMESPACE, labels=label)
            return await build_logs.read_pods(cluster, pods.items)


async def follow_log(target: targets.Target, name: str, write: build_log_view.Write) -> None:
    """Write what the newest build prints until it has ended, and how it ended.

    Raises:
        errors.StackError: there is no such App, it was never built, or the build failed.
    """
    async with app_access.client(target) as cluster:
        job = (await _newest(cluster, name))["metadata"]["name"]
        ended = await build_log_view.Follower(cluster, job, write).follow()
    build = build_outcomes.read(ended)
    if build.state in {"Failed", "Cancelled"}:
        raise errors.StackError(f"App {name}, commit {build.commit[:7]}: {build.message}")


async def _newest(cluster: kube.Client, name: str) -> Mapping[str, Any]:
    newest = build_log_view.newest(await _jobs(cluster, await _with_repository(cluster, name)))
    if newest is None:
        raise errors.StackError(f"App {name} was never built; `bex why {name}` says why")
    return newest


async def _jobs(cluster: kube.Client, app: Mapping[str, Any]) -> list[dict[str, Any]]:
    labels = f"{names.APP_UID_LABEL}={app['metadata']['uid']}"
    return (await cluster.list(kinds.JOB, names.BUILD_NAMESPACE, labels=labels)).items


async def _with_repository(cluster: kube.Client, name: str) -> dict[str, Any]:
    app = await app_access.read(cluster, name)
    if "repo" not in app["spec"]:
        raise errors.StackError(f"App {name} has no repository; it runs {app['spec']['image']}")
    return app
