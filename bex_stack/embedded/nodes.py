"""Machines as the API server knows them: whether their nodes are Ready, and their labels.

Apart from what starts machines: the Kubernetes client takes longer to import than a machine takes
to be started, and can be imported while it boots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from bex_operator.kube import client as kube
from bex_operator.kube import errors, kinds
from bex_stack.embedded import instance as instances

FIELD_MANAGER = "bex-embedded"
_WATCH_SECONDS = 30
_RETRY_SECONDS = 0.1


def is_ready(node: Mapping[str, Any]) -> bool:
    """Whether a Node (v1) has the condition Ready."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def is_ready_now(instance: instances.Instance, name: str) -> bool:
    """Whether the API server says so; one that does not answer says no."""
    try:
        async with kube.Client.from_kubeconfig(instance.kubeconfig) as client:
            return is_ready(await client.get(kinds.NODE, name))
    except (errors.KubeError, OSError):
        return False


async def becomes_ready(instance: instances.Instance, name: str, *, seconds: float) -> bool:
    """Wait until the node is Ready; whether it was within *seconds*."""
    try:
        async with asyncio.timeout(seconds):
            await _until_ready(instance, name)
    except TimeoutError:
        return False
    return True


async def label(instance: instances.Instance, name: str, labels: Mapping[str, str]) -> None:
    """Give a node labels that its kubelet may not give itself."""
    body = {"metadata": {"labels": dict(labels)}}
    async with kube.Client.from_kubeconfig(instance.kubeconfig) as client:
        await client.patch(kinds.NODE, name, None, body, field_manager=FIELD_MANAGER)


async def _until_ready(instance: instances.Instance, name: str) -> None:
    fields = f"metadata.name={name}"
    async with kube.Client.from_kubeconfig(instance.kubeconfig) as client:
        while True:
            try:
                known = await client.list(kinds.NODE, fields=fields)
                if any(is_ready(node) for node in known.items):
                    return
                async for event in client.watch(
                    kinds.NODE,
                    resource_version=known.resource_version,
                    fields=fields,
                    timeout_seconds=_WATCH_SECONDS,
                ):
                    if event.type == "MODIFIED" and is_ready(event.object):
                        return
            except errors.KubeError:  # restarted, or too busy to answer
                await asyncio.sleep(_RETRY_SECONDS)
