"""Opens releases: resolves the image, keeps the record, and stays with what serves if need be."""

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import app, names, records, status
from bex_operator.controllers import children, reporting, views
from bex_operator.kube import errors, kinds
from bex_operator.plan import (
    artefacts,
    causes,
    differences,
    history,
    releases,
    reports,
    rollouts,
    workload,
)
from bex_operator.registry import errors as registry_errors

Object = dict[str, Any]
Resolve = Callable[[str], Awaitable[str]]
"""Finds the digest of an image; raises `registry.errors`."""

ABSENT_SECONDS = 30.0
"""An image that is not there is asked for again after so long: it may be pushed yet."""
GIVEN_UP_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Settled:
    """Which release an App runs."""

    manifest: Object
    """The App object; newer than before if its annotation had to go."""
    wanted: app.App
    """The App as it is to run: its image by digest, its configuration that of the release."""
    release: status.Release
    """The release whose pods run."""
    standing: rollouts.Standing
    again: float | None = None
    """After how many seconds to look again."""


class NotReleased(Exception):
    """There is no release to run, and what runs is left alone."""

    def __init__(self, refusal: reports.Refusal, again_seconds: float | None = None) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.again_seconds = again_seconds
        """When to look again although the App may be the same; None: not before it changes."""


class Keeper:
    """Keeps the releases of Apps as ControllerRevisions."""

    def __init__(
        self,
        seen: views.Views,
        writer: children.Writer,
        reporter: reporting.Reporter,
        resolve: Resolve,
    ) -> None:
        self._views = seen
        self._writer = writer
        self._reporter = reporter
        self._resolve = resolve

    async def settle(
        self,
        manifest: Object,
        asked: app.App,
        artefact: artefacts.Outcome,
        before: status.AppStatus | None,
    ) -> Settled:
        """Choose the release that runs, and open it if it is new.

        Raises:
            NotReleased: there is none.
        """
        owner = workload.owner_of(manifest)
        known = history.read(self._views.records_of(owner.namespace, owner.name), owner.uid)
        try:
            if isinstance(artefact, artefacts.Ready):
                return await self._settle(manifest, asked, artefact, known, before)
            like_newest = artefacts.Ready(known[-1].image) if known else None
            if like_newest is not None and _wish(manifest, asked, like_newest, known).fresh:
                # A rollback needs no image but that of then.
                return await self._settle(manifest, asked, like_newest, known, before)
            return _stay(manifest, asked, artefact, known, before)
        except history.Impossible as exc:
            raise NotReleased(reports.Refusal("RollbackImpossible", str(exc))) from exc

    async def _settle(
        self,
        manifest: Object,
        asked: app.App,
        artefact: artefacts.Ready,
        known: Sequence[records.Record],
        before: status.AppStatus | None,
    ) -> Settled:
        owner = workload.owner_of(manifest)
        wish = _wish(manifest, asked, artefact, known)
        if wish.ended:
            manifest = await self._reporter.annotate(manifest, {names.ROLLBACK_ANNOTATION: None})
        running = self._running(owner)
        newest = releases.choose(
            releases.digest(wish.wanted),
            running,
            before.release if before else None,
            _release(known[-1]) if known else None,
            anew=wish.fresh,
        )
        record = history.find(known, newest.number)
        if record is None:
            try:
                record = await self._open(owner, wish, newest, known, artefact.origin)
            except registry_errors.NotFound as exc:
                return _stay(manifest, wish.wanted, _absent(wish.wanted, exc), known, before)
            await self._forget(owner, (*known, record), before)
        return _standing(manifest, wish.wanted, (*known, record), record, before)

    def _running(self, owner: workload.Owner) -> status.Release | None:
        deployment = self._deployment(owner)
        return releases.of_deployment(deployment) if deployment is not None else None

    def _deployment(self, owner: workload.Owner) -> Object | None:
        found = self._views.children[kinds.DEPLOYMENT.kind].get(owner.namespace, owner.name)
        return found if found is not None and differences.owned_by(found, owner.uid) else None

    async def _open(
        self,
        owner: workload.Owner,
        wish: history.Wish,
        release: status.Release,
        known: Sequence[records.Record],
        origin: str | None,
    ) -> records.Record:
        before = known[-1] if known else None
        if self._running(owner) == release:
            # Its pods run as they are: what its tag means by now is none of their business.
            record = history.adopted(wish, release, before, self._deployment(owner) or {})
        else:
            record = history.opened(wish, release, before)
            if wish.rollback is None:
                record = await self._resolved(record.model_copy(update={"origin": origin}))
        return await self._keep(owner, record)

    async def _resolved(self, record: records.Record) -> records.Record:
        try:
            digest = await self._resolve(record.image)
        except registry_errors.Unavailable as exc:
            note = f"the tag of {record.image!r} could not be resolved and may move: {exc}"
            return record.model_copy(update={"note": note[:300]})
        return record.model_copy(update={"image_digest": digest})

    async def _keep(self, owner: workload.Owner, record: records.Record) -> records.Record:
        """Write the record; one that is there already and the caches did not have yet counts."""
        wanted = history.render(record, owner)
        kind, name = kinds.CONTROLLER_REVISION, wanted["metadata"]["name"]
        self._writer.count("create", kind.kind)
        try:
            written = await self._writer.kube.create(wanted, field_manager=children.FIELD_MANAGER)
        except errors.AlreadyExists:
            written = await self._writer.kube.get(kind, name, owner.namespace)
            if not differences.owned_by(written, owner.uid):
                raise children.NameTaken(kind.kind, name) from None
        self._views.records.put(written)
        found = records.Record.from_manifest(written)
        if found is None or found.digest != record.digest:
            raise children.Moved(f"{name} is of another configuration than the caches say")
        return found

    async def _forget(
        self,
        owner: workload.Owner,
        known: Sequence[records.Record],
        before: status.AppStatus | None,
    ) -> None:
        serving = before.active_revision if before else None
        spare = {
            f"{owner.name}-{each.revision}"
            for each in history.superfluous(known, serving, known[-1].rollback_to)
        }
        for manifest in self._views.records_of(owner.namespace, owner.name):
            if manifest["metadata"]["name"] in spare:
                await self._writer.remove(self._views.records, manifest)


def given_up_seconds(before: status.AppStatus | None, after: status.AppStatus) -> float | None:
    """A release that has just failed leaves the one that serves to run alone, at once."""
    known = {each.number for each in before.history} if before else set()
    failed = {each.number for each in after.history if not each.served}
    return GIVEN_UP_SECONDS if failed - known else None


def _release(record: records.Record) -> status.Release:
    return status.Release(number=record.number, digest=record.digest)


def _serving(
    known: Sequence[records.Record], before: status.AppStatus | None
) -> records.Record | None:
    revision = before.active_revision if before else None
    return next((each for each in known if each.revision == revision), None)


def _standing(
    manifest: Object,
    wanted: app.App,
    known: Sequence[records.Record],
    newest: records.Record,
    before: status.AppStatus | None,
) -> Settled:
    """Run the newest release; if it was given up, the one that serves."""
    failed = history.failure(before.history if before else (), newest.number)
    serving = _serving(known, before)
    if failed is None or serving is None or serving is newest:
        standing = rollouts.Standing(newest=_release(newest), note=newest.note)
        pinned = history.pinned(wanted, newest)
        return Settled(manifest, pinned, _release(newest), standing)
    held = causes.Cause("ProgressDeadlineExceeded", failed.message or "", broken=True)
    standing = rollouts.Standing(newest=_release(newest), held=held, note=newest.note)
    return Settled(manifest, history.pinned(wanted, serving), _release(serving), standing)


def _stay(
    manifest: Object,
    wanted: app.App,
    artefact: artefacts.Waiting | artefacts.Failed,
    known: Sequence[records.Record],
    before: status.AppStatus | None,
) -> Settled:
    """Stay with the release there is while there is no image for a new one.

    Raises:
        NotReleased: there is none.
    """
    building = isinstance(artefact, artefacts.Waiting)
    if not known:
        refusal = reports.Refusal(artefact.reason, artefact.message, building=building)
        raise NotReleased(refusal, artefact.again_seconds)
    settled = _standing(manifest, wanted, known, known[-1], before)
    if history.is_rolled_back(manifest["metadata"].get("annotations") or {}, known):
        # What runs is what is asked for, whatever becomes of the image.
        return dataclasses.replace(settled, again=artefact.again_seconds)
    held = causes.Cause(artefact.reason, artefact.message, broken=not building)
    standing = rollouts.Standing(newest=_release(known[-1]), held=held, building=building)
    return dataclasses.replace(settled, standing=standing, again=artefact.again_seconds)


def _absent(wanted: app.App, absent: registry_errors.NotFound) -> artefacts.Failed:
    message = f"image {wanted.image!r} is not in its registry: check its name and tag ({absent})"
    return artefacts.Failed("ImageNotFound", message, ABSENT_SECONDS)


def _wish(
    manifest: Object,
    asked: app.App,
    artefact: artefacts.Ready,
    known: Sequence[records.Record],
) -> history.Wish:
    wanted = artefacts.with_image(asked, artefact.image)
    return history.wish(wanted, manifest["metadata"].get("annotations") or {}, known)
