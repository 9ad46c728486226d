"""A Service's fixed address that the API server keeps already, and for whom.

It notes an address (an IPAddress) before it makes the Service that asked for it. A request that is
still under way holds one for a moment; one that died between the two holds it for nobody, until the
server looks for such, a minute later at the soonest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from bex_operator.kube import client as kube
from bex_operator.kube import errors, kinds

GRACE_SECONDS = 3.0
"""A request of somebody who was killed a moment ago may still make the Service."""
TIMEOUT_SECONDS = 120.0
_POLL_SECONDS = 0.2
Object = dict[str, Any]
Tell = Callable[[str], None]


class AddressTaken(RuntimeError):
    """The address belongs to something else, or is kept for nobody and cannot be had."""


async def apply(
    client: kube.Client,
    obj: Object,
    *,
    field_manager: str,
    tell: Tell = lambda _message: None,
    grace_seconds: float = GRACE_SECONDS,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> None:
    """Apply *obj*; where its address is kept for nobody, free the address after a moment.

    Raises: AddressTaken, errors.KubeError.
    """
    began = time.monotonic()
    told = False
    while (refused := await _refused(client, obj, field_manager)) is not None:
        address = obj["spec"]["clusterIP"]
        name = f"Service {obj['metadata']['namespace']}/{obj['metadata']['name']}"
        waited = time.monotonic() - began
        held, owner = await _held(client, address)
        if owner not in {None, name}:
            raise AddressTaken(f"{name} needs {address}, which belongs to {owner}") from refused
        if waited > timeout_seconds:
            late = f"{name} cannot have {address} after {timeout_seconds:.0f} s"
            raise AddressTaken(late) from refused
        if not told:
            tell(f"{name} waits for {address}, which is kept for a Service that is not there")
            told = True
        if held is not None and owner is None and waited >= grace_seconds:
            await _free(client, held)
        await asyncio.sleep(_POLL_SECONDS)


async def _refused(client: kube.Client, obj: Object, field_manager: str) -> errors.Invalid | None:
    """Apply it; the server's refusal if the address is what it refuses."""
    try:
        await client.apply(obj, field_manager=field_manager)
    except errors.Invalid as refused:
        causes = refused.details.get("causes") or ()
        if any("provided IP is already allocated" in str(each.get("message")) for each in causes):
            return refused
        raise
    return None


async def _held(client: kube.Client, address: str) -> tuple[Object | None, str | None]:
    """What notes the address, and whose it is: nobody's if its Service is gone or has another."""
    try:
        held = await client.get(kinds.IP_ADDRESS, address)
    except errors.NotFound:
        return None, None
    parent = held["spec"]["parentRef"]
    namespace, name = parent.get("namespace", ""), parent["name"]
    if parent.get("group") or parent["resource"] != "services":
        return held, f"{parent['resource']} {namespace}/{name}"
    try:
        service = await client.get(kinds.SERVICE, name, namespace)
    except errors.NotFound:
        return held, None
    has_it = address in service["spec"].get("clusterIPs", ())
    return held, f"Service {namespace}/{name}" if has_it else None


async def _free(client: kube.Client, held: Object) -> None:
    """Delete what was seen, and nothing that came in its place."""
    seen = held["metadata"]
    with contextlib.suppress(errors.NotFound, errors.Conflict):
        await client.delete(
            kinds.IP_ADDRESS, seen["name"], uid=seen["uid"], version=seen["resourceVersion"]
        )
