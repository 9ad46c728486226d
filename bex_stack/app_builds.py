"""The builds of one app: asks for one, and reads what the newest printed."""

import datetime
import json
from dataclasses import dataclass
from typing import Any

from bex_operator.api import names
from bex_operator.kube import build_logs, kinds
from bex_operator.kube import client as kube
from bex_operator.kube import errors as kube_errors
from bex_stack import app_access, errors, targets


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
        annotations = {names.DEPLOY_ANNOTATION: json.dumps(request)}
        await app_access.change(cluster, name, annotations=annotations)
    ref = asked.ref or spec.get("branch", "main")
    return f"deploys {ref} of {spec['repo']}; `bex deploys {name} --follow` shows how it goes"


async def read_log(target: targets.Target, name: str) -> str:
    """Return what the newest build printed so far, or what was kept of it.

    Raises:
        errors.StackError: there is no such App, or it was never built.
    """
    async with app_access.client(target) as cluster:
        app = await _with_repository(cluster, name)
        labels = f"{names.APP_UID_LABEL}={app['metadata']['uid']}"
        jobs = await cluster.list(kinds.JOB, names.BUILD_NAMESPACE, labels=labels)
        if not jobs.items:
            raise errors.StackError(f"App {name} was never built; `bex why {name}` says why")
        newest = max(jobs.items, key=lambda each: str(each["metadata"]["creationTimestamp"]))
        job = newest["metadata"]["name"]
        try:
            return build_logs.unpack(
                await cluster.get(kinds.CONFIG_MAP, job, names.BUILD_NAMESPACE)
            )
        except kube_errors.NotFound:
            label = f"batch.kubernetes.io/job-name={job}"
            pods = await cluster.list(kinds.POD, names.BUILD_NAMESPACE, labels=label)
            return await build_logs.read_pods(cluster, pods.items)


async def _with_repository(cluster: kube.Client, name: str) -> dict[str, Any]:
    app = await app_access.read(cluster, name)
    if "repo" not in app["spec"]:
        raise errors.StackError(f"App {name} has no repository; it runs {app['spec']['image']}")
    return app
