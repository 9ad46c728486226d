"""Who waits for a build, since when, and whose turn it is; forgotten with the process."""

import asyncio
import contextlib
import datetime
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bex_operator.kube import caches
from bex_operator.plan import build_outcomes, build_turns, builds

RUNNING = "running"
"""Jobs that have not ended, by tenant."""


class Line:
    """The Apps that want a build, and the builds that run, counted in a cache of *jobs*."""

    def __init__(self, jobs: caches.Cache, limits: build_turns.Limits) -> None:
        self._jobs = jobs
        self._turns = build_turns.Turns(limits)
        self._due: dict[caches.Key, tuple[str, str]] = {}
        self._starting: dict[caches.Key, str] = {}
        jobs.index(RUNNING, _tenant_of_running)

    def join(self, app: caches.Key, due: str, since: str) -> str:
        """Note which build an App wants; return since when it wants that one.

        That is *since*, or now if that is empty, unless it is known already.
        """
        job, known = self._due.get(app, ("", ""))
        if job != due:
            known = since or now()
            self._due[app] = due, known
        return known

    def leave(self, app: caches.Key) -> None:
        """Note that an App wants no build, or none any more."""
        self._due.pop(app, None)
        self._turns.leave(app, app[0])

    def has_turn(self, app: caches.Key) -> bool:
        """Tell whether an App's build may begin; it waits for its turn from now on."""
        clock = asyncio.get_running_loop().time()
        return self._turns.may_begin(app, app[0], self._running(), clock)

    @contextlib.contextmanager
    def begun(self, app: caches.Key, job: caches.Key) -> Iterator[None]:
        """Count a build as running while its Job is made: whoever decides meanwhile has to."""
        self._starting[job] = app[0]
        self._turns.began(app, app[0])
        try:
            yield
        finally:
            del self._starting[job]

    def wake_next(self, wake: Callable[[caches.Key], None]) -> None:
        """Wake the Apps whose builds may begin."""
        clock = asyncio.get_running_loop().time()
        for app in self._turns.next(self._running(), clock):
            wake(app)

    def _running(self) -> Counter[str]:
        """Count the builds that run, by tenant."""
        # By the index: every App that waits asks, and reading all Jobs for each is what takes long.
        running = Counter(self._jobs.tally(RUNNING))
        running.update(tenant for job, tenant in self._starting.items() if job not in self._jobs)
        return running


def now() -> str:
    """Return the time as builds note it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _tenant_of_running(manifest: Mapping[str, Any]) -> Iterator[str]:
    if build_outcomes.is_running(manifest):
        yield (manifest["metadata"].get("labels") or {}).get(builds.NAMESPACE_LABEL, "")
