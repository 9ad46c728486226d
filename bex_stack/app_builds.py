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
from bex_operator.plan import build_outcomes, webhooks
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


async def cancel(target: targets.Target, name: str) -> str:
    """End the build that runs, wait for it, and say what happened; what serves goes on.

    Raises:
        errors.StackError: there is no such App, or it has no build that runs.
        errors.NotReady: the build does not end in time.
    """
    async with app_access.client(target) as cluster:
        app = await _with_repository(cluster, name)
        running = [
            job for job in await _jobs(cluster, app) if build_outcomes.read(job).state == "Running"
        ]
        if not running:
            raise errors.StackError(f"App {name} has no build that runs")
        job = running[0]["metadata"]["name"]
        asked = {"job": job, "by": getpass.getuser()}
        await app_access.change(
            cluster, name, annotations={names.CANCEL_ANNOTATION: json.dumps(asked)}
        )
        deadline = time.monotonic() + CANCEL_SECONDS
        while True:
            found = await cluster.get(kinds.JOB, job, names.BUILD_NAMESPACE)
            build = build_outcomes.read(found)
            if build.state != "Running":
                ended = "cancelled" if build.state == "Cancelled" else "had ended before"
                return f"the build of {build.commit[:7]} {ended}; `bex deploy {name}` starts one"
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
