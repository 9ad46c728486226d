"""Writes what an App owns, only where it differs, and never what belongs to somebody else."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import prometheus_client as prometheus

from bex_operator.api import names
from bex_operator.controllers import metrics
from bex_operator.kube import caches, client, errors, kinds
from bex_operator.plan import differences, history, workload

Object = dict[str, Any]

FIELD_MANAGER = names.MANAGED_BY
HANDOVER_MANAGER = f"{FIELD_MANAGER}-handover"
_TRIES = 3


class NameTaken(Exception):
    """An object of the name we need is there and is not the App's."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            f"{kind} {name!r} exists and was not made for this App; delete it or rename the App"
        )


class Moved(Exception):
    """Something changes faster than we can follow; try again later."""


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

    async def check_current(self, manifest: Object) -> Object:
        """See that what follows is of what the App says now; return the App object as it is.

        Whoever still has the spec of before, while another leader acts on the new one, would undo
        what that one does.

        Raises:
            Moved: it says something else by now.
        """
        metadata = manifest["metadata"]
        live = await self.kube.get(kinds.APP, metadata["name"], metadata["namespace"])
        if history.is_older(manifest, live):
            raise Moved(f"App {metadata['name']!r} is ahead of the caches")
        return live

    async def ensure(self, cache: caches.Cache, wanted: Object, manifest: Object) -> Object | None:
        """Make the App's child as *wanted*; return it, or None while an old one is on its way out.

        Raises:
            NameTaken: the object there is not the App's.
            Moved: it is not the one observed any more, and nor is the App.
        """
        metadata, uid = wanted["metadata"], manifest["metadata"]["uid"]
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
                await self.check_current(manifest)
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
        self, cache: caches.Cache, wanted: workload.Workload, manifest: Object
    ) -> None:
        """Leave the Deployment's replicas to the autoscaler, at a number that it may have.

        A field that its only owner no longer applies goes back to its default: without another
        owner the pods would shrink to one when the operator lets go of the number.

        Raises:
            errors.Conflict: the Deployment is no longer the one observed.
            Moved: nor is the App.
        """
        app = manifest["metadata"]
        observed = cache.get(app["namespace"], app["name"])
        replicas = workload.handover(wanted, observed)
        if replicas is None or observed is None or not differences.owned_by(observed, app["uid"]):
            return
        await self.check_current(manifest)
        self.count("apply", observed["kind"])
        kept = ("name", "namespace", "uid", "resourceVersion")
        metadata = {key: observed["metadata"][key] for key in kept}
        body = {key: observed[key] for key in ("apiVersion", "kind")} | {"metadata": metadata}
        body["spec"] = {"replicas": replicas}
        cache.put(await self.kube.apply(body, field_manager=HANDOVER_MANAGER))

    async def remove(
        self, cache: caches.Cache, observed: Mapping[str, Any], *, version: str | None = None
    ) -> None:
        """Ask for the deletion of exactly this object; that it is gone already is fine.

        With a *version* only if it is still that one.

        Raises:
            errors.Conflict: another has taken its place, or so it seems: the caches will tell.
        """
        metadata, kind = observed["metadata"], cache.scope.kind
        self.count("delete", kind.kind)
        try:
            await self.kube.delete(
                kind, metadata["name"], metadata["namespace"], uid=metadata["uid"], version=version
            )
        except errors.NotFound:
            cache.drop(metadata["namespace"], metadata["name"])

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

    async def remove_stale(self, cache: caches.Cache, manifest: Object) -> None:
        """Delete a child that the App must no longer have, if it is the App's.

        Raises:
            Moved: the App may want it again.
        """
        metadata = manifest["metadata"]
        observed = cache.get(metadata["namespace"], metadata["name"])
        if observed is None or "deletionTimestamp" in observed["metadata"]:
            return
        if differences.owned_by(observed, metadata["uid"]):
            await self.check_current(manifest)
            version = observed["metadata"]["resourceVersion"]
            await self.remove(cache, observed, version=version)

    async def _apply(self, wanted: Object, observed: Object | None) -> Object:
        """Apply; without force where nothing of ours is known to be.

        A foreign object of the name conflicts in its selector, and stays untouched. With UID and
        version set, so does one that took the place of ours meanwhile, and one that another leader
        has written since: this may be the older.
        """
        self.count("apply", wanted["kind"])
        if observed is None:
            return await self.kube.apply(wanted, field_manager=FIELD_MANAGER, force=False)
        seen = {key: observed["metadata"][key] for key in ("uid", "resourceVersion")}
        metadata = wanted["metadata"] | seen
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
