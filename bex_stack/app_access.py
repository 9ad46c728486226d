"""One app of a stack, as its cluster knows it."""

import asyncio
import getpass
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from bex_operator import api
from bex_operator.api import names
from bex_operator.kube import client as kube
from bex_operator.kube import errors as kube_errors
from bex_operator.kube import kinds
from bex_stack import errors, targets

T = TypeVar("T")
MANAGER = "bex-cli"
"""Owns the fields that orders change, so that a later `up` of the same program leaves them."""
POLL_SECONDS = 0.5


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
    path = target.kubeconfig
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


async def change(
    cluster: kube.Client,
    name: str,
    *,
    spec: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> None:
    """Change some fields of the App object (None removes one), in the name of who asks."""
    asker = {names.CHANGED_BY_ANNOTATION: getpass.getuser()}
    body = {"metadata": {"annotations": {**(annotations or {}), **asker}}, "spec": spec or {}}
    await cluster.patch(kinds.APP, name, api.NAMESPACE, body, field_manager=MANAGER)


async def wait(
    cluster: kube.Client,
    name: str,
    is_done: Callable[[Mapping[str, Any]], bool],
    *,
    describe: Callable[[Mapping[str, Any]], str],
    say: Callable[[str], None],
    timeout_seconds: float,
) -> dict[str, Any]:
    """Read the App object until *is_done*; *say* what *describe* makes of it when that changes.

    Raises:
        errors.NotReady: it takes longer than *timeout_seconds*.
        errors.StackError: there is no such App, or *is_done* saw that it never will be.
    """
    deadline, said = time.monotonic() + timeout_seconds, ""
    while True:
        app = await read(cluster, name)
        if (words := describe(app)) != said:
            say(words)
            said = words
        if is_done(app):
            return app
        if time.monotonic() > deadline:
            raise errors.NotReady(f"App {name} after {timeout_seconds:.0f} s: {words}")
        await asyncio.sleep(POLL_SECONDS)


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
