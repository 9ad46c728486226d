"""One app of a stack, as its cluster knows it."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from bex_operator import api
from bex_operator.api import names
from bex_operator.kube import client as kube
from bex_operator.kube import errors as kube_errors
from bex_operator.kube import kinds
from bex_stack import errors, targets

T = TypeVar("T")


def run(question: Coroutine[Any, Any, T]) -> T:
    """Run what talks to a cluster, to its end.

    Raises:
        errors.StackError: the cluster does not answer as it should.
    """
    try:
        return asyncio.run(question)
    except kube_errors.KubeError as exc:
        raise errors.StackError(f"the cluster does not answer: {exc}") from exc


def client(target: targets.Target) -> kube.Client:
    """Return a client of the stack's cluster; to be used in `async with`.

    Raises:
        errors.StackError: the stack is not up.
    """
    path = target.instance.kubeconfig
    if not path.exists():
        raise errors.StackError(f"stack {target.stack} is not up: there is no {path.name}")
    return kube.Client.from_kubeconfig(path)


async def read(cluster: kube.Client, name: str) -> dict[str, Any]:
    """Read the App object.

    Raises:
        errors.StackError: there is none of that name.
    """
    try:
        return await cluster.get(kinds.APP, name, api.NAMESPACE)
    except kube_errors.NotFound as exc:
        raise errors.StackError(f"there is no App {name!r}; `bex apps` lists them") from exc


async def pods(cluster: kube.Client, name: str) -> list[dict[str, Any]]:
    """Read the app's pods, oldest first."""
    found = await cluster.list(kinds.POD, api.NAMESPACE, labels=f"{names.APP_LABEL}={name}")
    return sorted(found.items, key=pod_age)


def pod_age(pod: Mapping[str, Any]) -> tuple[str, str]:
    """Sort pods by this: the oldest come first, always in the same order."""
    return str(pod["metadata"]["creationTimestamp"]), str(pod["metadata"]["name"])


def ready_condition(app: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the App's Ready condition; empty while nothing was reported."""
    conditions = app.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == "Ready"), {})


def is_pod_ready(pod: Mapping[str, Any]) -> bool:
    """Tell whether *pod* serves: ready and not on its way out."""
    conditions = pod.get("status", {}).get("conditions") or []
    return "deletionTimestamp" not in pod["metadata"] and any(
        each["type"] == "Ready" and each["status"] == "True" for each in conditions
    )
