"""Asks a test stack: over HTTP at its edge, and at its API server."""

import asyncio
import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bex_operator import api
from bex_operator.kube import client as kube
from bex_operator.kube import kinds
from tests.support import stacks


@dataclass(frozen=True)
class Answer:
    """What the edge answered."""

    status: int
    body: str

    @property
    def hostname(self) -> str:
        """Which pod answered: the example's first line is its host name."""
        return self.body.splitlines()[0]


def get(stack: stacks.Stack, host: str, path: str = "/") -> Answer:
    """Ask the edge of *stack* for *path* of *host*."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.http_port, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read().decode())
    finally:
        connection.close()


def kubeconfig(stack: stacks.Stack) -> Path:
    """The administrator's kubeconfig of *stack*."""
    values = json.loads(stack.bex("outputs", "--json", "--show-secrets").stdout)
    return Path(values["kubeconfig"])


def objects(stack: stacks.Stack, kind: kinds.Kind) -> list[dict[str, Any]]:
    """All objects of *kind* in the apps' namespace (or the cluster, for kinds without one)."""

    async def listed() -> list[dict[str, Any]]:
        async with kube.Client.from_kubeconfig(kubeconfig(stack)) as client:
            return list((await client.list(kind, api.NAMESPACE if kind.namespaced else None)).items)

    return asyncio.run(listed())


def cordon(stack: stacks.Stack, node: str, *, closed: bool) -> None:
    """Let *node* take no new pods, or let it take them again."""

    async def patched() -> None:
        async with kube.Client.from_kubeconfig(kubeconfig(stack)) as client:
            await client.patch(kinds.NODE, node, None, {"spec": {"unschedulable": closed}})

    asyncio.run(patched())


def pods(stack: stacks.Stack) -> list[dict[str, Any]]:
    """The apps' pods that are not being deleted."""
    return [p for p in objects(stack, kinds.POD) if "deletionTimestamp" not in p["metadata"]]


def names(stack: stacks.Stack, plural: str) -> set[str]:
    """Names of the apps' objects of a kind given by its plural."""
    kind = {"deployments": kinds.DEPLOYMENT, "services": kinds.SERVICE, "ingresses": kinds.INGRESS}
    return {item["metadata"]["name"] for item in objects(stack, kind[plural])}
