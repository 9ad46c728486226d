"""Leader election over a Lease: at most one acts, and a dead leader is replaced.

Time is measured on our own monotonic clock from when a change was seen, never by comparing the
record's times with ours, so clocks that differ or jump do no harm.
"""

import asyncio
import contextlib
import datetime
import math
import random
import time
from dataclasses import dataclass
from typing import Any

import structlog

from bex_operator.kube import client, errors, kinds

DURATION_SECONDS = 15
"""A leader that has not renewed for so long is considered dead."""
RENEW_SECONDS = 10.0
"""A leader that could not renew for so long gives up by itself, before others take over."""
RETRY_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class Lost(Exception):
    """We are no longer the leader."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Which lease, and who we are."""

    namespace: str
    name: str
    identity: str


@dataclass(frozen=True, slots=True)
class _Sighting:
    """The record as seen, and when on our clock."""

    version: str
    seen_at: float


class Election:
    """One candidate."""

    def __init__(
        self, kube: client.Client, lease: Lease, *, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self.lease = lease
        self._retry_seconds = retry_seconds
        self._kube = kube
        self._sighting: _Sighting | None = None
        self._held: dict[str, Any] | None = None
        self._renewed = -math.inf
        """When the last renewal that came through was sent, on our clock."""

    def check(self) -> None:
        """See that nobody else can be the leader yet: for a process that was stopped for a while.

        Raises:
            errors.NotLeading: it took so long to renew that somebody may be.
        """
        if self._left_seconds() <= 0:
            raise errors.NotLeading(f"the lease {self.lease.name!r} was not renewed in time")

    async def acquire(self) -> None:
        """Wait until we lead; a lease that is given up is taken at once."""
        freed = asyncio.Event()
        watching = asyncio.create_task(self._watch(freed))
        try:
            while not await self._renew():
                with contextlib.suppress(TimeoutError):
                    jitter = random.uniform(0.8, 1.2)  # noqa: S311
                    async with asyncio.timeout(self._retry_seconds * jitter):
                        await freed.wait()
                freed.clear()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def hold(self) -> None:
        """Renew until it fails for too long or somebody else leads; then return."""
        while (left := self._left_seconds()) > 0:
            await asyncio.sleep(min(RETRY_SECONDS, left))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._left_seconds()):
                    if not await self._renew() and self._held is None:
                        break
        _log.error("lease.lost", lease=self.lease.name)
        self._held, self._renewed = None, -math.inf

    async def release(self) -> None:
        """Give the lease up, so that the next leader need not wait for its end."""
        held, self._held = self._held, None
        if held is None:
            return
        try:
            await self._empty(held)
        except errors.Conflict:
            # A renewal that was given up on the way may have arrived.
            with contextlib.suppress(errors.KubeError):
                found = await self._kube.get(kinds.LEASE, self.lease.name, self.lease.namespace)
                if found["spec"].get("holderIdentity") == self.lease.identity:
                    await self._empty(found)
        except errors.KubeError as exc:
            _log.warning("lease.not_released", lease=self.lease.name, error=str(exc)[:300])

    async def _empty(self, held: dict[str, Any]) -> None:
        spec = held["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1}
        await self._kube.replace(held | {"spec": spec}, field_manager="bex-operator")

    async def _watch(self, freed: asyncio.Event) -> None:
        """Tell when nobody holds the lease; if it cannot be watched, trying now and then does."""
        field = f"metadata.name={self.lease.name}"
        while True:
            with contextlib.suppress(errors.KubeError):
                events = self._kube.watch(
                    kinds.LEASE, self.lease.namespace, resource_version=None, fields=field
                )
                holder = None
                async with contextlib.aclosing(events):
                    async for event in events:
                        # A bookmark first: there was no lease when the watch began.
                        if event.type != "BOOKMARK":
                            spec = event.object.get("spec") or {}
                            holder = spec.get("holderIdentity") if event.type != "DELETED" else None
                        if not holder:
                            freed.set()
            await asyncio.sleep(RETRY_SECONDS)

    def _left_seconds(self) -> float:
        """For how long we lead for certain; none if we do not."""
        return self._renewed + RENEW_SECONDS - time.monotonic()

    async def _renew(self) -> bool:
        began = time.monotonic()
        if not await self._try():
            return False
        self._renewed = began
        return True

    async def _try(self) -> bool:
        """Renew, or take what is free; False if somebody else leads or we could not ask."""
        try:
            found = await self._kube.get(kinds.LEASE, self.lease.name, self.lease.namespace)
            if not self._may_take(found):
                self._held = None
                return False
            self._held = await self._kube.replace(
                found | {"spec": self._spec(found["spec"])}, field_manager="bex-operator"
            )
        except errors.NotFound:
            return await self._create()
        except errors.Conflict:
            return False
        except errors.KubeError as exc:
            _log.warning("lease.retry", lease=self.lease.name, error=str(exc)[:300])
            return False
        return True

    async def _create(self) -> bool:
        made = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.lease.name, "namespace": self.lease.namespace},
            "spec": self._spec({}),
        }
        try:
            self._held = await self._kube.create(made, field_manager="bex-operator")
        except errors.KubeError as exc:
            _log.warning("lease.retry", lease=self.lease.name, error=str(exc)[:300])
            return False
        return True

    def _may_take(self, found: dict[str, Any]) -> bool:
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity")
        if not holder or holder == self.lease.identity:
            return True
        version = found["metadata"]["resourceVersion"]
        if self._sighting is None or self._sighting.version != version:
            self._sighting = _Sighting(version, time.monotonic())
        age = time.monotonic() - self._sighting.seen_at
        return age > float(spec.get("leaseDurationSeconds") or DURATION_SECONDS)

    def _spec(self, before: dict[str, Any]) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mine = before.get("holderIdentity") == self.lease.identity
        changes = int(before.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self.lease.identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": before["acquireTime"] if mine and "acquireTime" in before else now,
            "renewTime": now,
            "leaseTransitions": changes if mine or not before else changes + 1,
        }
