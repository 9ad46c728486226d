"""Keeps the Ingresses, Services and EndpointSlices of all namespaces as the API server has them."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import structlog

from bex_operator.kube import client as kube
from bex_operator.kube import errors, kinds

KINDS = (kinds.INGRESS, kinds.SERVICE, kinds.ENDPOINT_SLICE)

FIRST_DELAY_SECONDS = 0.2
LAST_DELAY_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class Objects:
    """A view of three kinds; while the API server is away it stays as it was."""

    def __init__(self, client: kube.Client) -> None:
        self.changed = asyncio.Event()
        """Set after every change; whoever waits for it clears it."""
        self._client = client
        self._found: dict[kinds.Kind, dict[tuple[str, str], Mapping[str, Any]]] = {}

    @property
    def are_complete(self) -> bool:
        """Whether each kind has been listed once; before, anything may be missing."""
        return len(self._found) == len(KINDS)

    def of(self, kind: kinds.Kind) -> list[Mapping[str, Any]]:
        """Return the objects of one kind."""
        return list(self._found.get(kind, {}).values())

    async def follow(self) -> None:
        """Keep all kinds up to date until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for kind in KINDS:
                tasks.create_task(self._follow(kind), name=f"follow {kind.plural}")

    async def _follow(self, kind: kinds.Kind) -> None:
        delay = FIRST_DELAY_SECONDS
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list(kind)
                    delay = FIRST_DELAY_SECONDS
                version = await self._watch(kind, version)
                continue
            except errors.Gone:
                version = ""
                continue
            except errors.KubeError as exc:
                # A watch that broke may have lost nothing, but a list is how to be sure.
                version = ""
                _log.warning("cannot follow", kind=kind.plural, error=str(exc), retry_seconds=delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_DELAY_SECONDS)

    async def _list(self, kind: kinds.Kind) -> str:
        listed = await self._client.list(kind)
        found: dict[tuple[str, str], Mapping[str, Any]] = {
            _key(each): each for each in listed.items
        }
        if found != self._found.get(kind):
            self._found[kind] = found
            self.changed.set()
        return listed.resource_version

    async def _watch(self, kind: kinds.Kind, version: str) -> str:
        found = self._found[kind]
        watch = self._client.watch(kind, resource_version=version)
        async with contextlib.aclosing(watch):
            async for event in watch:
                version = event.object["metadata"]["resourceVersion"]
                if event.type == "BOOKMARK":
                    continue
                if event.type == "DELETED":
                    found.pop(_key(event.object), None)
                else:
                    found[_key(event.object)] = event.object
                self.changed.set()
        return version


def _key(obj: Mapping[str, Any]) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
