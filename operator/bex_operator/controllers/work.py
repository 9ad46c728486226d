"""Works through a queue of keys: one reconcile at a time for each, failures come again later."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from bex_operator.controllers import children, metrics
from bex_operator.kube import caches, errors, queues

Key = caches.Key
Reconcile = Callable[[Key], Awaitable[float | None]]
"""Brings one object to its wanted state; returns after how many seconds to look again."""

_log = structlog.get_logger(__name__)


class Line:
    """A queue and what is done with its keys; any number of workers may stand at it."""

    def __init__(
        self, reconcile: Reconcile, queue: queues.Queue[Key], counted: metrics.Metrics
    ) -> None:
        self.queue = queue
        self._reconcile = reconcile
        self._metrics = counted

    async def work(self) -> None:
        """Take keys and reconcile them until the queue closes; one of several workers."""
        while True:
            try:
                key = await self.queue.get()
            except queues.Closed:
                return
            await self._attempt(key)
            # One that finds nothing to do never waits: a backlog would hold up watches, health and
            # lease until its end, and with them what is new.
            await asyncio.sleep(0)

    async def _attempt(self, key: Key) -> None:
        started = time.perf_counter()
        trace = f"{random.getrandbits(32):08x}"
        structlog.contextvars.bind_contextvars(namespace=key[0], app=key[1], trace=trace)
        try:
            again = await self._reconcile(key)
        except errors.TooManyRequests as busy:
            self._failed(key, busy, busy.retry_after_seconds)
        except (errors.KubeError, children.Moved) as exc:
            self._failed(key, exc)
        except Exception as exc:  # noqa: BLE001 - a poisoned App must not stop the others
            _log.exception("app.poison")
            self._failed(key, exc)
        else:
            self.queue.done(key)
            if again is not None:
                self.queue.add_after(key, again)
        finally:
            structlog.contextvars.clear_contextvars()
            self._metrics.reconciles.observe(time.perf_counter() - started)

    def _failed(self, key: Key, exc: Exception, at_least_seconds: float = 0.0) -> None:
        delay = self.queue.failed(key, at_least_seconds=at_least_seconds)
        self._metrics.failures.labels(type(exc).__name__).inc()
        _log.warning(
            "app.retry", error=f"{type(exc).__name__}: {exc}"[:500], after_seconds=round(delay, 2)
        )
