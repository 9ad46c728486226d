"""Brings everything an App consists of to its wanted state, at once."""

import asyncio
from collections.abc import Sequence
from typing import Any

from bex_operator.controllers import children, views, wakes
from bex_operator.kube import caches, kinds
from bex_operator.plan import history, workload

Object = dict[str, Any]
Pairs = Sequence[tuple[kinds.Kind, Object | None]]


class Applier:
    """Writes the children of Apps and tells those who wait for a host that came free."""

    def __init__(self, seen: views.Views, writer: children.Writer, waking: wakes.Wakes) -> None:
        self._views = seen
        self._writer = writer
        self._wakes = waking

    async def apply(self, manifest: Object, wanted: workload.Workload) -> list[str]:
        """Write all children; return the kinds that must leave before they can be made.

        A failure is raised after all others are through. An autoscaler comes after the Deployment
        let go of its replicas, and goes before the number is ours again.
        """
        autoscaler = (kinds.HORIZONTAL_POD_AUTOSCALER, wanted.autoscaler)
        if wanted.autoscaler is None:
            await self._settle(manifest, *autoscaler)
        else:
            deployments = self._views.children[kinds.DEPLOYMENT.kind]
            await self._writer.hand_over(deployments, wanted, manifest)
        pairs: Pairs = (
            (kinds.DEPLOYMENT, wanted.deployment),
            (kinds.SERVICE, wanted.service),
            (kinds.INGRESS, wanted.ingress),
            (kinds.POD_DISRUPTION_BUDGET, wanted.budget),
        )
        leaving = await self._settle_all(manifest, pairs)
        if wanted.autoscaler is not None:
            leaving += await self._settle_all(manifest, (autoscaler,))
        return leaving

    async def _settle_all(self, manifest: Object, pairs: Pairs) -> list[str]:
        owner = workload.owner_of(manifest)
        due = [pair for pair in pairs if not self._is_settled(owner, *pair)]
        if not due:
            return []
        results = await asyncio.gather(
            *(self._settle(manifest, kind, child) for kind, child in due),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [kind.kind for (kind, _), result in zip(due, results, strict=True) if not result]

    async def _keep_up(self, cache: caches.Cache, manifest: Object) -> None:
        """See that the App is no older than its child: another leader may have changed both.

        Watches tell in no order among each other, and *manifest* may have been read before what
        took long: the newer child would be taken for damage.
        """
        metadata = manifest["metadata"]
        kept = self._views.apps.get(metadata["namespace"], metadata["name"])
        if kept is not None and history.is_older(manifest, kept):
            raise children.Moved(f"App {metadata['name']!r} has changed meanwhile")
        known = max(self._views.apps.seen, int(metadata["resourceVersion"]))
        if cache.told_of(metadata["namespace"], metadata["name"]) > known:
            await self._writer.check_current(manifest)

    def _is_settled(self, owner: workload.Owner, kind: kinds.Kind, wanted: Object | None) -> bool:
        cache = self._views.children[kind.kind]
        if wanted is None:
            return (owner.namespace, owner.name) not in cache
        return self._writer.has(cache, wanted, owner.uid)

    async def _settle(self, manifest: Object, kind: kinds.Kind, wanted: Object | None) -> bool:
        """Make or remove one child; False while an old one is on its way out."""
        cache = self._views.children[kind.kind]
        if wanted is None:
            await self._writer.remove_stale(cache, manifest)
            return True
        key = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        before = cache.get(*key)
        await self._keep_up(cache, manifest)
        after = await self._writer.ensure(cache, wanted, manifest)
        if kind is kinds.INGRESS and after is not before:
            # The watch will not tell of our own write, but losers wait for hosts given up.
            self._wakes.claimants(before, after, key)
        return after is not None
