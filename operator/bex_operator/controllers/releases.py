"""Opens releases: resolves the image, keeps the record, and stays with what serves if need be."""

import dataclasses
import datetime
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import app, names, records, status
from bex_operator.controllers import children, reporting, views
from bex_operator.kube import kinds
from bex_operator.plan import (
    artefacts,
    causes,
    differences,
    history,
    predeploy,
    releases,
    reports,
    rollouts,
    standings,
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

    def __init__(
        self,
        refusal: reports.Refusal,
        again_seconds: float | None = None,
        standing: rollouts.Standing | None = None,
    ) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.standing = standing or rollouts.Standing()
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
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._clock = clock
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
            stays = artefact.meanwhile
            if stays is None and known:
                stays = artefacts.Ready(known[-1].image)
            if stays is not None and (
                history.is_unreleased(stays, known)
                # A rollback needs no image but that of then.
                or _wish(manifest, asked, stays, known).fresh
            ):
                return await self._settle(manifest, asked, stays, known, before, artefact)
            return await self._stay(manifest, asked, artefact, known, before)
        except history.Impossible as exc:
            raise NotReleased(reports.Refusal("RollbackImpossible", str(exc))) from exc

    async def _settle(
        self,
        manifest: Object,
        asked: app.App,
        artefact: artefacts.Ready,
        known: Sequence[records.Record],
        before: status.AppStatus | None,
        lacking: artefacts.Waiting | artefacts.Failed | None = None,
    ) -> Settled:
        """Run *artefact*; *lacking* tells of what is asked for and is not there yet."""
        owner = workload.owner_of(manifest)
        wish = _wish(manifest, asked, artefact, known)
        if wish.ended:
            manifest = await self._reporter.annotate(manifest, {names.ROLLBACK_ANNOTATION: None})
        running = self._running(owner)
        newest = releases.choose(
            releases.digest(wish.wanted),
            running,
            before.release if before else None,
            known[-1].release if known else None,
            anew_after=known[-1].number if wish.fresh else None,
        )
        record = history.find(known, newest.number)
        if record is None:
            if newest.number > 1:
                await self._writer.check_current(manifest)
            try:
                made = history.opened(wish, newest, known[-1] if known else None)
                made = history.signed(
                    made,
                    who=manifest["metadata"].get(views.CHANGED_BY),
                    artefact=artefact,
                    before=known[-1].image if known else None,
                )
                resolved = wish.rollback is not None
                record = await self._open(owner, made, running, resolved=resolved)
            except registry_errors.NotFound as exc:
                absent = _absent(wish.wanted, exc)
                return await self._stay(manifest, wish.wanted, absent, known, before)
            known = (*known, record)
            await self._forget(manifest, known, before)
        gate = self._gate(owner, wish.wanted, known[-1], running, before)
        choice = standings.choose(known, running, before, gate)
        if choice.starts:
            await self._start(manifest, history.pinned(wish.wanted, known[-1]), newest)
        if lacking is not None:
            rolled_back = wish.rollback is not None
            choice = standings.without_image(choice, lacking, rolled_back=rolled_back)
        return _settled(manifest, wish.wanted, choice, lacking or artefact)

    async def _stay(
        self,
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
        if not known:
            nothing = standings.Choice(None, rollouts.Standing())
            choice = standings.without_image(nothing, artefact, rolled_back=False)
            return _settled(manifest, wanted, choice, artefact)
        owner = workload.owner_of(manifest)
        running = self._running(owner)
        gate = self._gate(owner, wanted, known[-1], running, before)
        choice = standings.choose(known, running, before, gate)
        if choice.starts:
            released = history.pinned(wanted, known[-1])
            await self._start(manifest, released, known[-1].release)
        annotations = manifest["metadata"].get("annotations") or {}
        rolled_back = history.is_rolled_back(annotations, known)
        choice = standings.without_image(choice, artefact, rolled_back=rolled_back)
        return _settled(manifest, wanted, choice, artefact)

    def _gate(
        self,
        owner: workload.Owner,
        wanted: app.App,
        newest: records.Record,
        running: status.Release | None,
        before: status.AppStatus | None,
    ) -> predeploy.Gate:
        """Tell whether the newest release may serve, as far as its pre-deploy command goes."""
        released = history.pinned(wanted, newest)
        if released.pre_deploy_command is None:
            return predeploy.OPEN
        past = before.history if before else ()
        served = any(each.number == newest.number and each.served for each in past)
        situation = predeploy.Situation(
            release=newest.release,
            jobs=predeploy.of_app(self._views.jobs_of(owner.namespace, owner.name), owner.uid),
            pods=self._views.job_pods_of(owner.namespace, owner.name),
            before=before.pre_deploy if before else None,
            serves=served or (running is not None and running.number == newest.number),
            parked=workload.replicas_of(wanted) == 0,
        )
        return predeploy.gate(released, situation, now=self._clock())

    async def _start(self, manifest: Object, wanted: app.App, release: status.Release) -> None:
        """Make the Job of a release; one that the caches did not have yet counts.

        Another leader may have seen its end, and the Job may be gone since.
        """
        live = await self._writer.check_current(manifest)
        now, then = ((each.get("status") or {}).get("preDeploy") for each in (live, manifest))
        if now != then:
            raise children.Moved(f"{releases.revision(release)} has a command that ran already")
        owner = workload.owner_of(manifest)
        made = predeploy.render(wanted, owner, release)
        await self._writer.create(self._views.jobs, made, owner.uid)

    def _running(self, owner: workload.Owner) -> status.Release | None:
        deployment = self._deployment(owner)
        return releases.of_deployment(deployment) if deployment is not None else None

    def _deployment(self, owner: workload.Owner) -> Object | None:
        found = self._views.children[kinds.DEPLOYMENT.kind].get(owner.namespace, owner.name)
        return found if found is not None and differences.owned_by(found, owner.uid) else None

    async def _open(
        self,
        owner: workload.Owner,
        record: records.Record,
        running: status.Release | None,
        *,
        resolved: bool,
    ) -> records.Record:
        if running == record.release:
            # Its pods run as they are: what its tag means by now is none of their business.
            record = history.adopted(record, self._deployment(owner) or {})
        elif not resolved:
            record = await self._resolved(record)
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
        written = await self._writer.create(self._views.records, wanted, owner.uid)
        found = records.Record.from_manifest(written)
        if found is None or found.digest != record.digest:
            name = wanted["metadata"]["name"]
            raise children.Moved(f"{name} is of another configuration than the caches say")
        return found

    async def _forget(
        self,
        manifest: Object,
        known: Sequence[records.Record],
        before: status.AppStatus | None,
    ) -> None:
        owner = workload.owner_of(manifest)
        serving = before.active_revision if before else None
        spare = {
            f"{owner.name}-{each.revision}"
            for each in history.superfluous(known, serving, known[-1].rollback_to)
        }
        if spare:
            await self._writer.check_current(manifest)
        for each in self._views.records_of(owner.namespace, owner.name):
            if each["metadata"]["name"] in spare:
                await self._writer.remove(self._views.records, each)


def given_up_seconds(before: status.AppStatus | None, after: status.AppStatus) -> float | None:
    """A release that has just failed leaves the one that serves to run alone, at once."""
    known = {each.number for each in before.history} if before else set()
    failed = {each.number for each in after.history if not each.served}
    return GIVEN_UP_SECONDS if failed - known else None


def _settled(
    manifest: Object, wanted: app.App, choice: standings.Choice, artefact: artefacts.Outcome
) -> Settled:
    standing = dataclasses.replace(choice.standing, queue=artefact.queue)
    again = None if isinstance(artefact, artefacts.Ready) else artefact.again_seconds
    if choice.record is None:
        held = standing.held or causes.Cause("NotReleased", "nothing is released", broken=True)
        parked = workload.replicas_of(wanted) == 0
        phase = standings.phase(standing, parked=parked)
        refusal = reports.Refusal(held.reason, held.message, phase)
        raise NotReleased(refusal, again, standing)
    pinned = history.pinned(wanted, choice.record)
    return Settled(manifest, pinned, choice.record.release, standing, again)


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
