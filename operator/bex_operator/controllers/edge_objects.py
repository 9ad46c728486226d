"""The Ingresses, Services and EndpointSlices of all namespaces as the API server has them."""

import asyncio
import sys
from typing import Any

from bex_operator.kube import caches, client, kinds

KINDS = (kinds.INGRESS, kinds.SERVICE, kinds.ENDPOINT_SLICE)


class Objects:
    """A view of three kinds; while the API server is away it stays as it was."""

    def __init__(self, kube: client.Client) -> None:
        self.changed = asyncio.Event()
        """Set after every change; whoever waits for it clears it."""
        self._caches = {
            # Every change renders from all of them.
            kind: caches.Cache(kube, caches.Scope(kind, parsed=sys.maxsize))
            for kind in KINDS
        }
        for cache in self._caches.values():
            cache.listen(lambda _: self.changed.set())

    @property
    def are_complete(self) -> bool:
        """Whether each kind has been listed once; before, anything may be missing."""
        return all(cache.synced.is_set() for cache in self._caches.values())

    def of(self, kind: kinds.Kind) -> list[dict[str, Any]]:
        """Return the objects of one kind; they must not be changed."""
        cache = self._caches[kind]
        keys = cache.keys()
        return [each for each in (cache.get(*key) for key in keys) if each is not None]

    async def follow(self) -> None:
        """Keep all kinds up to date until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for kind, cache in self._caches.items():
                tasks.create_task(cache.run(), name=f"follow {kind.plural}")
            for cache in self._caches.values():
                await cache.synced.wait()
            # A cluster without any object changes nothing and is complete all the same.
            self.changed.set()
