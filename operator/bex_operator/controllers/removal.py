"""Takes down what a deleted App owns, stage by stage, and lets the App go when nothing is left."""

import datetime
from typing import Any

from bex_operator.api import conditions, names
from bex_operator.controllers import artefacts, children, reporting, views
from bex_operator.kube import errors
from bex_operator.plan import reports, teardown

Object = dict[str, Any]


class Remover:
    """Deletes in the order of `plan.teardown`."""

    def __init__(
        self,
        seen: views.Views,
        writer: children.Writer,
        reporter: reporting.Reporter,
        builder: artefacts.Builder,
    ) -> None:
        self._views = seen
        self._writer = writer
        self._reporter = reporter
        self._builder = builder

    async def tear_down(self, manifest: Object, now: datetime.datetime) -> float | None:
        """Take the next step; return after how many seconds to look again."""
        metadata = manifest["metadata"]
        finalizers = metadata.get("finalizers") or []
        if names.FINALIZER not in finalizers:
            return None
        step = teardown.next_step(self._views.owned_by(manifest))
        failed = await self._writer.remove_all(self._views.by_kind, step.delete)
        if step.done:
            built = await self._builder.discard(manifest)
            step = teardown.Step((), (), tuple(built))
        if step.done:
            try:
                await self._reporter.set_finalizers(
                    manifest, teardown.without_finalizer(finalizers)
                )
            except errors.NotFound:
                self._views.apps.drop(metadata["namespace"], metadata["name"])
            return None
        return await self._wait(manifest, step, failed, now)

    async def _wait(
        self,
        manifest: Object,
        step: teardown.Step,
        failed: errors.KubeError | None,
        now: datetime.datetime,
    ) -> float:
        left = teardown.patience_seconds(manifest, now=now)
        if left > 0:
            if failed is not None:
                raise failed
            return min(left, artefacts.DISCARD_SECONDS) if step.built else left
        before = reports.recorded(manifest)
        failure = "" if failed is None else str(failed)
        after = teardown.stalled(manifest, before, step, failure, now=conditions.time_text(now))
        await self._reporter.report(manifest, before, after, now)
        return teardown.STALLED_RETRY_SECONDS
