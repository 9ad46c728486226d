"""A work queue of keys: each at most once, never two workers on one, failures back off.

Two lanes: `fresh` for what just happened, `backlog` for what a restart or a resync found. Fresh
work goes first, but every eighth turn is the backlog's, so neither starves.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF_SECONDS = 0.05
MAX_BACKOFF_SECONDS = 60.0
BACKLOG_TURN = 8


class Closed(Exception):
    """The queue gives out no more work."""


class Queue(Generic[K]):
    """Keys to work on. Not thread-safe: one event loop owns it."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._fresh: deque[K] = deque()
        self._backlog: deque[K] = deque()
        self._waiting: dict[K, bool] = {}
        """Keys in a lane; the value is True for the fresh lane."""
        self._working: set[K] = set()
        self._again: dict[K, bool] = {}
        """Keys that came again while being worked on, with their lane."""
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._wanted: deque[asyncio.Future[None]] = deque()
        self._turn = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def working(self) -> int:
        """How many keys are being worked on."""
        return len(self._working)

    @property
    def idle(self) -> bool:
        """Tell whether there is nothing to do now (keys may be waiting for their time)."""
        return not self._waiting and not self._working

    def add(self, key: K, *, fresh: bool = True) -> None:
        """Ask for work on *key* now; a delayed try of it is brought forward."""
        if self._closed:
            return
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._working:
            self._again[key] = fresh or self._again.get(key, False)
        elif key not in self._waiting:
            self._waiting[key] = fresh
            (self._fresh if fresh else self._backlog).append(key)
            self._wake()
        elif fresh and not self._waiting[key]:
            # It stays in the backlog lane too; that entry is skipped when its turn comes.
            self._waiting[key] = True
            self._fresh.append(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for work on *key* later; of two times the earlier counts."""
        if self._closed or key in self._waiting:
            return
        loop = asyncio.get_running_loop()
        when, timer = loop.time() + seconds, self._timers.get(key)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._due, key)

    async def get(self) -> K:
        """Wait for a key and take it; `done` or `failed` must follow.

        Raises:
            Closed: there will be no more.
        """
        while not self._waiting:
            if self._closed:
                raise Closed
            wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wanted.append(wake)
            try:
                await wake
            except asyncio.CancelledError:
                self._give_up(wake)
                raise
        return self._take()

    def done(self, key: K) -> None:
        """Finish work on *key*; its failures are forgotten."""
        self._failures.pop(key, None)
        self._finish(key)

    def failed(self, key: K, *, at_least_seconds: float = 0.0) -> float:
        """Finish a failed try of *key*; it comes back after the returned time in seconds."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        backoff = min(FIRST_BACKOFF_SECONDS * 2 ** min(count, 30), MAX_BACKOFF_SECONDS)
        delay = max(float(backoff) * (0.75 + 0.5 * self._jitter()), at_least_seconds)
        # What changed meanwhile does not shorten the pause, or a poisoned key would spin.
        self._again.pop(key, None)
        self._finish(key)
        self.add_after(key, delay)
        return delay

    def close(self) -> None:
        """Give out no more work; those who wait get Closed."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._waiting.clear()
        self._fresh.clear()
        self._backlog.clear()
        while self._wanted:
            self._wake()

    def _take(self) -> K:
        self._turn += 1
        lanes = [self._fresh, self._backlog]
        if self._turn % BACKLOG_TURN == 0:
            lanes.reverse()
        for lane in lanes:
            while lane:
                key = lane.popleft()
                if key in self._waiting and self._waiting[key] is (lane is self._fresh):
                    del self._waiting[key]
                    self._working.add(key)
                    return key
        raise AssertionError("a waiting key stands in no lane")

    def _finish(self, key: K) -> None:
        self._working.discard(key)
        if key in self._again:
            self.add(key, fresh=self._again.pop(key))

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _wake(self) -> None:
        while self._wanted:
            wake = self._wanted.popleft()
            if not wake.done():
                wake.set_result(None)
                return

    def _give_up(self, wake: asyncio.Future[None]) -> None:
        if wake in self._wanted:
            self._wanted.remove(wake)
        elif self._waiting:
            self._wake()  # it had been chosen: pass the turn on
