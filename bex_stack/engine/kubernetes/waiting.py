"""Follows an object until it is ready or gone. Every wait ends: by a deadline or by the run."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

from bex_operator.kube import client as clients
from bex_operator.kube import errors as kube_errors
from bex_operator.kube import kinds
from bex_stack.engine import errors, providers
from bex_stack.engine.kubernetes import objects, readiness

LOOK_AGAIN_SECONDS = 1.0
"""How often related objects (pods, endpoints) are looked at; the object itself is watched."""


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait, whom to tell, and what may cut it short."""

    timeout_seconds: float
    report: providers.Report
    stopping: threading.Event


async def until_ready(
    client: clients.Client,
    kind: kinds.Kind,
    made: objects.Object,
    inputs: objects.Object,
    wait: Wait,
) -> objects.Object:
    """Return the object once its test says it is ready.

    Raises: ProviderError when the test says it never will, the time is over or the run stops.
    """
    test = readiness.test_of(inputs)
    if test is None:
        return made
    told = ""
    async with contextlib.aclosing(_follow(client, kind, made, wait)) as versions:
        async for current in versions:
            if current is None:
                raise errors.ProviderError("it was deleted while it was waited for")
            verdict = test(current, await _related(client, current))
            if verdict.ready:
                return current
            if verdict.failed:
                raise errors.ProviderError(verdict.message)
            if verdict.message != told:
                told = verdict.message
                wait.report(told)
    if wait.stopping.is_set():
        raise errors.ProviderError(f"the run was stopped while waiting: {told}")
    raise errors.ProviderError(f"not ready after {wait.timeout_seconds:.0f} s: {told}")


async def until_gone(
    client: clients.Client, kind: kinds.Kind, last: objects.Object, wait: Wait
) -> None:
    """Return once the object, or the one with its uid, does not exist any more.

    Raises: ProviderError when the time is over or the run stops.
    """
    told = ""
    async with contextlib.aclosing(_follow(client, kind, last, wait)) as versions:
        async for current in versions:
            if current is None:
                return
            metadata = current.get("metadata") or {}
            held = ", ".join(metadata.get("finalizers") or []) or "its contents"
            message = f"waiting until it is gone, held by {held}"
            if message != told:
                told = message
                wait.report(told)
    if wait.stopping.is_set():
        raise errors.ProviderError("the run was stopped while it was being deleted")
    raise errors.ProviderError(f"still there after {wait.timeout_seconds:.0f} s: {told}")


async def _follow(
    client: clients.Client, kind: kinds.Kind, first: objects.Object, wait: Wait
) -> AsyncGenerator[objects.Object | None, None]:
    """Yield the object whenever it changes and at least every second; None when it is gone.

    Ends when the time is over or the run stops.
    """
    deadline = time.monotonic() + wait.timeout_seconds
    name, namespace = objects.name_of(first), objects.namespace_of(first) or None
    uid = None
    while time.monotonic() < deadline and not wait.stopping.is_set():
        try:
            current = await client.get(kind, name, namespace)
        except kube_errors.NotFound:
            yield None
            return
        uid = uid or current["metadata"]["uid"]
        if current["metadata"]["uid"] != uid:
            # Another object took the name while nobody looked.
            yield None
            return
        yield current
        version = current["metadata"]["resourceVersion"]
        watch = client.watch(
            kind,
            namespace,
            resource_version=version,
            fields=f"metadata.name={name}",
            timeout_seconds=300,
        )
        # Both, the one that may still be asking the other first: who asked may leave at any yield.
        events = _events(watch, current, deadline, wait.stopping)
        async with contextlib.aclosing(watch), contextlib.aclosing(events):
            async for found in events:
                yield found
                if found is None:
                    return


async def _events(
    watch: AsyncIterator[clients.Event],
    current: objects.Object,
    deadline: float,
    stopping: threading.Event,
) -> AsyncGenerator[objects.Object | None, None]:
    """Yield versions out of one watch, the last one again after each quiet second."""
    pending: asyncio.Task[clients.Event] | None = None
    try:
        while time.monotonic() < deadline and not stopping.is_set():
            pending = pending or asyncio.ensure_future(anext(watch))
            done, _ = await asyncio.wait({pending}, timeout=LOOK_AGAIN_SECONDS)
            if not done:
                yield current
                continue
            try:
                event = pending.result()
            except (StopAsyncIteration, kube_errors.KubeError):
                return
            finally:
                pending = None
            if event.type == "DELETED":
                yield None
                return
            if event.type in ("ADDED", "MODIFIED"):
                current = event.object
                yield current
    finally:
        if pending is not None:
            pending.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
                await pending


async def _related(client: clients.Client, obj: objects.Object) -> Sequence[objects.Object]:
    wanted = readiness.related_to(obj)
    if wanted is None:
        return ()
    kind = await client.resolve(wanted.api_version, wanted.kind)
    namespace = objects.namespace_of(obj) if kind.namespaced else None
    return (await client.list(kind, namespace, labels=wanted.labels or None)).items
