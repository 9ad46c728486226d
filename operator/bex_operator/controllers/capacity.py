"""Looks at machines and at what runs on them, only for Apps that wait for room."""

import asyncio
import time
from collections.abc import Callable

import structlog

from bex_operator.kube import client, errors, kinds
from bex_operator.plan import capacity

_RUNNING = "status.phase!=Succeeded,status.phase!=Failed"

_log = structlog.get_logger(__name__)


class Gauge:
    """Measures the machines' free room, at most once in a while for all who ask."""

    def __init__(self, kube: client.Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._clock = clock
        self._lock = asyncio.Lock()
        self._rooms: tuple[capacity.Room, ...] = ()
        self._until = float("-inf")

    async def rooms(self) -> tuple[capacity.Room, ...]:
        """Return the machines; none if they cannot be seen."""
        async with self._lock:
            if self._clock() >= self._until:
                self._rooms = await self._look()
                self._until = self._clock() + capacity.RECHECK_SECONDS
            return self._rooms

    async def _look(self) -> tuple[capacity.Room, ...]:
        try:
            nodes, pods = await asyncio.gather(
                self._kube.list(kinds.NODE), self._kube.list(kinds.POD, fields=_RUNNING)
            )
        except errors.KubeError as exc:
            # It would only have made a message better.
            _log.info("capacity.unseen", error=str(exc)[:300])
            return ()
        return capacity.read(nodes.items, pods.items)
