"""Writes what an App owns, only where it differs, and never what belongs to somebody else."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import prometheus_client as prometheus
import structlog

from bex_operator.api import names
from bex_operator.controllers import metrics
from bex_operator.kube import caches, client, errors, kinds
from bex_operator.plan import differences, workload

Object = dict[str, Any]

FIELD_MANAGER = names.MANAGED_BY
HANDOVER_MANAGER = f"{FIELD_MANAGER}-handover"
_TRIES = 3

_log = structlog.get_logger(__name__)


class NameTaken(Exception):
    """An object of the name we need is there and is not the App's."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            f"{kind} {name!r} exists and was not made for this App; delete it or rename the App"
        )


class Moved(Exception):
    """The object changes faster than we can follow; try again later."""


class Writer:
    """The operator's writes, counted and put into the caches."""

    def __init__(self, kube: client.Client, counted: metrics.Metrics) -> None:
        self.kube = kube
        self.counted = counted
        self._counters: dict[tuple[str, str], prometheus.Counter] = {}
        """Looking one up by its labels takes as long as counting ten times."""

    def count(self, verb: str, kind: str) -> None:
        """Count a write."""
        counter = self._counters.get((verb, kind))
        if counter is None:
            counter = self._counters[verb, kind] = self.counted.writes.labels(verb, kind)
        counter.inc()

    def has(self, cache: caches.Cache, wanted: Object, uid: str) -> bool:
        """Tell whether the child is there as *wanted*, as far as is known."""
        metadata = wanted["metadata"]
        observed = cache.get(metadata["namespace"], metadata["name"])
        return (
            observed is not None
            and "deletionTimestamp" not in observed["metadata"]
            and differences.owned_by(observed, uid)
            and differences.holds(observed, wanted)
        )

    async def ensure(self, cache: caches.Cache, wanted: Object, uid: str) -> Object | None:
        """Make the child as *wanted*; return it, or None while an old one is on its way out.

        Raises:
            NameTaken: the object there is not of the App with *uid*.
        """
        metadata = wanted["metadata"]
        observed = cache.get(metadata["namespace"], metadata["name"])
        for _ in range(_TRIES):
            if observed is not None:
                if not differences.owned_by(observed, uid):
                    raise NameTaken(wanted["kind"], metadata["name"])
                if "deletionTimestamp" in observed["metadata"]:
                    return None
                if differences.holds(observed, wanted):
                    return observed
            try:
                written = await self._apply(wanted, observed)
            except (errors.Conflict, errors.Invalid) as refused:
                observed = await self._live(cache, wanted, refused)
                continue
            cache.put(written)
            return written
        raise Moved(f"{wanted['kind']} {metadata['name']!r} keeps changing")

    async def create(self, cache: caches.Cache, wanted: Object, uid: str) -> Object:
        """Make what never changes; one that is there already and the cache did not have counts.

        Raises:
            NameTaken: the object there is not of the App with *uid*.
        """
        metadata, kind = wanted["metadata"], cache.scope.kind
        self.count("create", kind.kind)
        try:
            written = await self.kube.create(wanted, field_manager=FIELD_MANAGER)
        except errors.AlreadyExists:
            written = await self.kube.get(kind, metadata["name"], metadata["namespace"])
            if not differences.owned_by(written, uid):
                raise NameTaken(kind.kind, metadata["name"]) from None
        cache.put(written)
        return written

    async def hand_over(
        self, cache: caches.Cache, wanted: workload.Workload, owner: workload.Owner
    ) -> None:
        """Leave the Deployment's replicas to the autoscaler, at a number that it may have.

        A field that its only owner no longer applies goes back to its default: without another
        owner the pods would shrink to one when the operator lets go of the number.

        Raises:
            errors.Conflict: the Deployment is no longer the one observed.
        """
        observed = cache.get(owner.namespace, owner.name)
        replicas = workload.handover(wanted, observed)
        if replicas is None or observed is None or not differences.owned_by(observed, owner.uid):
            return
        self.count("apply", observed["kind"])
        kept = ("name", "namespace", "uid", "resourceVersion")
        metadata = {key: observed["metadata"][key] for key in kept}
        body = {key: observed[key] for key in ("apiVersion", "kind")} | {"metadata": metadata}
        body["spec"] = {"replicas": replicas}
        cache.put(await self.kube.apply(body, field_manager=HANDOVER_MANAGER))

    async def remove(self, cache: caches.Cache, observed: Mapping[str, Any]) -> None:
        """Ask for the deletion of exactly this object; that it is gone already is fine."""
        metadata, kind = observed["metadata"], cache.scope.kind
        self.count("delete", kind.kind)
        try:
            await self.kube.delete(
                kind, metadata["name"], metadata["namespace"], uid=metadata["uid"]
            )
        except errors.NotFound:
            cache.drop(metadata["namespace"], metadata["name"])
        except errors.Conflict:
            _log.info("child.replaced", kind=kind.kind, name=metadata["name"])

    async def remove_all(
        self, cached: Mapping[str, caches.Cache], children: Sequence[Mapping[str, Any]]
    ) -> errors.KubeError | None:
        """Ask for the deletion of all; return what the first refusal said, if there was one."""
        results = await asyncio.gather(
            *(self.remove(cached[child["kind"]], child) for child in children),
            return_exceptions=True,
        )
        failed = None
        for result in results:
            if isinstance(result, errors.KubeError):
                failed = failed or result
            elif isinstance(result, BaseException):
                raise result
        return failed

    async def remove_stale(self, cache: caches.Cache, namespace: str, name: str, uid: str) -> None:
        """Delete a child that the App must no longer have, if it is the App's."""
        observed = cache.get(namespace, name)
        if observed is None or "deletionTimestamp" in observed["metadata"]:
            return
        if differences.owned_by(observed, uid):
            await self.remove(cache, observed)

    async def _apply(self, wanted: Object, observed: Object | None) -> Object:
        """Apply; without force where nothing of ours is known to be.

        A foreign object of the name conflicts in its selector, and stays untouched. With the UID
        set, an object that took the place of ours meanwhile conflicts too.
        """
        self.count("apply", wanted["kind"])
        if observed is None:
            return await self.kube.apply(wanted, field_manager=FIELD_MANAGER, force=False)
        metadata = wanted["metadata"] | {"uid": observed["metadata"]["uid"]}
        return await self.kube.apply(wanted | {"metadata": metadata}, field_manager=FIELD_MANAGER)

    async def _live(
        self, cache: caches.Cache, wanted: Object, refused: errors.ApiError
    ) -> Object | None:
        """Read what is really there; an Invalid that no surprise explains is the caller's."""
        metadata = wanted["metadata"]
        known = cache.get(metadata["namespace"], metadata["name"])
        kind = kinds.of(wanted["apiVersion"], wanted["kind"]) or cache.scope.kind
        try:
            live = await self.kube.get(kind, metadata["name"], metadata["namespace"])
        except errors.NotFound:
            if isinstance(refused, errors.Invalid):
                raise refused from None
            cache.drop(metadata["namespace"], metadata["name"])
            return None
        same = known is not None and known["metadata"]["uid"] == live["metadata"]["uid"]
        if isinstance(refused, errors.Invalid) and same:
            raise refused
        return live
