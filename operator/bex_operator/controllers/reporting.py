"""Writes what the operator has to say on the App object itself: status, finalizer, annotations."""

import datetime
from collections.abc import Mapping
from typing import Any

import structlog

from bex_operator.api import names, status
from bex_operator.controllers import children, recorder, views
from bex_operator.kube import kinds
from bex_operator.plan import differences, news

Object = dict[str, Any]

_log = structlog.get_logger(__name__)


class Reporter:
    """Writes on App objects; a spec that moved meanwhile makes every write a Conflict."""

    def __init__(self, seen: views.Views, writer: children.Writer, told: recorder.Recorder) -> None:
        self._views = seen
        self._writer = writer
        self._recorder = told

    async def report(
        self,
        manifest: Object,
        before: status.AppStatus | None,
        after: status.AppStatus,
        now: datetime.datetime,
    ) -> None:
        """Write the status where it differs, and record an Event if that is news."""
        if before == after:
            return
        new = after.model_dump(mode="json", by_alias=True, exclude_none=True)
        old = manifest.get("status") or {}
        await self._patch(
            manifest, "status", {"status": differences.merge(old, new)}, subresource="status"
        )
        told = news.between(before, after)
        _log.info("app.reported", phase=after.phase, revision=after.active_revision)
        if told is not None:
            self._recorder.record(manifest, told, now)

    async def with_finalizer(self, manifest: Object) -> Object:
        """Return the App object with our finalizer."""
        present = manifest["metadata"].get("finalizers") or []
        if names.FINALIZER in present:
            return manifest
        return await self.set_finalizers(manifest, [*present, names.FINALIZER])

    async def set_finalizers(self, manifest: Object, finalizers: list[str]) -> Object:
        """Write the whole list of finalizers."""
        return await self._patch(manifest, "finalizer", {"metadata": {"finalizers": finalizers}})

    async def annotate(self, manifest: Object, changed: Mapping[str, str | None]) -> Object:
        """Write annotations; None takes one away."""
        body = {"metadata": {"annotations": dict(changed)}}
        return await self._patch(manifest, "annotation", body)

    async def _patch(
        self, manifest: Object, what: str, body: Object, *, subresource: str | None = None
    ) -> Object:
        metadata = manifest["metadata"]
        seen = {"resourceVersion": metadata["resourceVersion"]}
        self._writer.count(what, names.KIND)
        written = await self._writer.kube.patch(
            kinds.APP,
            metadata["name"],
            metadata["namespace"],
            body | {"metadata": body.get("metadata", {}) | seen},
            field_manager=children.FIELD_MANAGER,
            subresource=subresource,
        )
        self._views.apps.put(written)
        return written
