"""Does a drain's steps: through the app cluster's API server, and through Hetzner's.

Every wait has an end, and says what it waited for.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from bex_operator.kube import client as kube
from bex_operator.kube import errors as kube_errors
from bex_operator.kube import kinds
from bex_stack import errors
from bex_stack.hetzner import cloud, draining
from bex_stack.hetzner.inventory import Inventory

PAUSE_SECONDS = 1.0
CLOUD_PAUSE_SECONDS = 5.0
"""Each look costs three of the project's requests, which others need, too."""
_KINDS = {
    "App": kinds.APP,
    "Service": kinds.SERVICE,
    "PersistentVolumeClaim": kinds.PERSISTENT_VOLUME_CLAIM,
    "Deployment": kinds.DEPLOYMENT,
    "StatefulSet": kinds.STATEFUL_SET,
}

Tell = Callable[[str], None]


class NotDrained(errors.StackError):
    """A step did not end; what it waited for is in the message, and running it again goes on."""


async def observe(kubeconfig: Path) -> draining.Seen:
    """Look at what a drain has to do with.

    Raises:
        NotDrained: the app cluster does not answer.
    """
    try:
        async with kube.Client.from_kubeconfig(kubeconfig, user_agent="bex-drain") as client:
            return draining.Seen(
                apps=await _all(client, kinds.APP),
                services=await _all(client, kinds.SERVICE),
                claims=await _all(client, kinds.PERSISTENT_VOLUME_CLAIM),
                workloads=[
                    {**each, "kind": kind.kind}
                    for kind in (kinds.DEPLOYMENT, kinds.STATEFUL_SET)
                    for each in await _all(client, kind)
                ],
            )
    except kube_errors.KubeError as failed:
        raise NotDrained(
            f"the app cluster behind {kubeconfig} does not answer, and it still has servers: "
            f"{failed}"
        ) from failed


async def run(
    steps: Sequence[draining.Step],
    kubeconfig: Path | None,
    connection: cloud.Cloud,
    wanted: Inventory,
    tell: Tell,
) -> None:
    """Do what of *steps* is ours, one after another.

    Raises:
        NotDrained: naming the step and what it waited for.
        cloud.CloudError: Hetzner refused.
    """
    own = [each for each in steps if each.is_ours]
    if kubeconfig is not None:
        async with kube.Client.from_kubeconfig(kubeconfig, user_agent="bex-drain") as client:
            for step in own:
                if step.deed != "unprotect":
                    await do(client, step)
                    tell(f"{step.name}: done ({len(step.what)})")
        await _wait_for_cloud(connection, wanted)
    for step in own:
        if step.deed == "unprotect":
            for thing in step.things:
                await asyncio.to_thread(connection.unprotect, thing)
            tell(f"{step.name}: lifted from {', '.join(each.name for each in step.things)}")


async def do(client: kube.Client, step: draining.Step) -> None:
    """Do one step in the app cluster, and wait until it has had its effect.

    Raises:
        NotDrained: it has not, in the step's time.
    """
    deed = _delete if step.deed == "delete" else _scale_to_none
    is_left = _is_there if step.deed == "delete" else _has_pods
    try:
        for reference in step.what:
            await deed(client, reference)
        await _until_gone(
            lambda: _left(client, step.what, is_left),
            step.name,
            step.waits_for,
            step.timeout_seconds,
        )
    except kube_errors.KubeError as failed:
        raise NotDrained(f"{step.name}: {failed}") from failed


async def _wait_for_cloud(connection: cloud.Cloud, wanted: Inventory) -> None:
    """Objects are gone; what they stood for must be, too."""

    async def left() -> list[str]:
        held = await asyncio.to_thread(connection.things, ("servers", "volumes", "load_balancers"))
        return [str(each) for each in draining.in_the_way(wanted, held)]

    name, waits_for = "volumes and load balancers", "Hetzner to have deleted them"
    await _until_gone(left, name, waits_for, 900, CLOUD_PAUSE_SECONDS)


async def _until_gone(
    left: Callable[[], Awaitable[list[str]]],
    name: str,
    waits_for: str,
    timeout_seconds: float,
    pause_seconds: float = PAUSE_SECONDS,
) -> None:
    deadline = time.monotonic() + timeout_seconds
    while found := await left():
        if time.monotonic() > deadline:
            raise NotDrained(
                f"{name}: waited {timeout_seconds:g} s for {waits_for}; still there: "
                f"{', '.join(found[:5])}"
            )
        await asyncio.sleep(pause_seconds)


async def _left(
    client: kube.Client,
    what: Sequence[draining.Reference],
    is_left: Callable[[kube.Client, draining.Reference], Awaitable[bool]],
) -> list[str]:
    return [
        f"{kind} {namespace}/{name}"
        for kind, namespace, name in what
        if await is_left(client, (kind, namespace, name))
    ]


async def _delete(client: kube.Client, reference: draining.Reference) -> None:
    kind, namespace, name = reference
    try:
        await client.delete(_KINDS[kind], name, namespace)
    except kube_errors.NotFound:
        return


async def _scale_to_none(client: kube.Client, reference: draining.Reference) -> None:
    kind, namespace, name = reference
    await client.patch(_KINDS[kind], name, namespace, {"spec": {"replicas": 0}})


async def _is_there(client: kube.Client, reference: draining.Reference) -> bool:
    kind, namespace, name = reference
    try:
        await client.get(_KINDS[kind], name, namespace)
    except kube_errors.NotFound:
        return False
    return True


async def _has_pods(client: kube.Client, reference: draining.Reference) -> bool:
    kind, namespace, name = reference
    try:
        found = await client.get(_KINDS[kind], name, namespace)
    except kube_errors.NotFound:
        return False
    status = found.get("status") or {}
    seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    return not seen or bool(status.get("replicas"))


async def _all(client: kube.Client, kind: kinds.Kind) -> list[dict[str, Any]]:
    try:
        return list((await client.list(kind)).items)
    except kube_errors.NotFound:
        return []  # a cluster without the definition has none of them
