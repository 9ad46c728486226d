"""Makes images out of repositories: starts the Jobs of builds and keeps what came of each."""

import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from bex_operator.api import names, status
from bex_operator.controllers import (
    build_line,
    build_starts,
    children,
    credentials,
    ref_jobs,
    registry_care,
    sources,
    views,
)
from bex_operator.git import errors as git_errors
from bex_operator.kube import build_logs, caches, errors, kinds
from bex_operator.plan import (
    artefacts,
    build_jobs,
    build_outcomes,
    build_places,
    build_queue,
    build_turns,
    buildpacks,
    builds,
)

if TYPE_CHECKING:
    from bex_operator.controllers import webhooks
    from bex_operator.git import remotes

Object = dict[str, Any]
BY_UID = "app-uid"
BY_JOB = "job"
_JOB_LABEL = "batch.kubernetes.io/job-name"
_MINE = f"{names.COMPONENT_LABEL}={builds.COMPONENT},{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"
_log = structlog.get_logger(__name__)


class Builder:
    """Makes images for Apps; the caches it `watches` and `run` have to be kept going."""

    def __init__(
        self,
        platform: build_jobs.Platform,
        writer: children.Writer,
        remote: "remotes.Remotes",
    ) -> None:
        self._platform = platform
        self._keeper: registry_care.Keeper | None = None
        self._writer = writer
        self._remote = remote
        self._sources = sources.Sources(self._ask, self._moved, poll_seconds=platform.poll_seconds)
        self._placed_until = 0.0
        self._watchers: dict[sources.Place, set[caches.Key]] = {}
        self._wake: Callable[[caches.Key], None] = lambda _: None
        kube = writer.kube
        self._jobs = caches.Cache(kube, caches.Scope(kinds.JOB, platform.namespace, labels=_MINE))
        self._starter = build_starts.Starter(platform, writer, self._jobs, BY_UID)
        self._pods = caches.Cache(kube, caches.Scope(kinds.POD, platform.namespace, labels=_MINE))
        self._jobs.index(BY_UID, _uid_of)
        limits = build_turns.Limits(platform.limit, platform.limit_each)
        self._line = build_line.Line(self._jobs, limits)
        self._pods.index(BY_JOB, _job_of)
        self._jobs.listen(self._changed)
        self._pods.listen(self._changed)

    @property
    def watches(self) -> tuple[caches.Cache, ...]:
        """What has to be kept current."""
        return (self._jobs, self._pods)

    def wake_with(self, wake: Callable[[caches.Key], None]) -> None:
        """Say how an App is looked at again."""
        self._wake = wake

    def ask_room(self, keeper: registry_care.Keeper | None) -> None:
        """Say who knows whether the registry has room, and lets builds in."""
        self._keeper = keeper

    def receiver(self, apps: caches.Cache) -> "webhooks.Receiver":
        """Return what takes word of pushes to these Apps."""
        from bex_operator.controllers import webhooks

        return webhooks.Receiver(apps, self._writer, self._platform.registry.key)

    async def run(self) -> None:
        """Keep up with the repositories, for ever."""
        await self._sources.run()

    async def outcome(self, manifest: Object, source: artefacts.Repository) -> artefacts.Outcome:
        """Say what the repository has become so far, and start the build that is due."""
        metadata = manifest["metadata"]
        app: caches.Key = metadata["namespace"], metadata["name"]
        if source.builder == "buildpack":
            unfit = buildpacks.refusal(self._platform.registry.endpoint)
            if unfit is not None:
                return unfit
        request = builds.read_request(manifest)
        place = sources.Place(source.repo, app[0], source.clone_secret)
        self._watchers.setdefault(place, set()).add(app)
        ref = request.ref or source.branch
        noted = metadata.get("annotations") or {}
        pushed = noted.get(names.PUSHED_ANNOTATION, "")
        head = self._sources.head(place, ref, requested=request.at, pushed=pushed)
        by, before = metadata.get(views.CHANGED_BY), build_queue.reported(manifest)
        wish = builds.Wish(metadata["uid"], source, head, request, by, before)
        if (failed := await self._starter.go_on(wish, app, place)) is not None:
            return failed
        known = await self._known(metadata["uid"], builds.read_cancel(manifest))
        return await self._decide(manifest, wish, known, place)

    async def _decide(
        self,
        manifest: Object,
        wish: builds.Wish,
        known: list[build_outcomes.Build],
        place: sources.Place,
    ) -> artefacts.Outcome:
        """Say what the App runs, start or withdraw the build that is due, and tell what waits."""
        app: caches.Key = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        before = wish.before
        decision = builds.decide(wish, known, app_name=app[1])
        due = self._due(app, wish, decision, before)
        cancel = builds.read_cancel(manifest)
        if due is not None and cancel.ends(due.job, due.since):
            known.append(
                await self._starter.withdraw(_order(wish, due, decision, known, app), cancel)
            )
            decision = builds.decide(wish, known, app_name=app[1])
            due = self._due(app, wish, decision, before)
        if decision.start is not None and not self._line.has_turn(app):
            decision = builds.decide(wish, known, app_name=app[1], has_turn=False)
        outcome = decision.outcome
        if due is not None and decision.start is not None:
            outcome = await self._start(_order(wish, due, decision, known, app), outcome, place)
            due = due if outcome is not decision.outcome else None
        queue = build_queue.after(
            before, wish.head.commit, due, known, begun=decision.begun, built=decision.built
        )
        return dataclasses.replace(outcome, queue=queue)

    def _due(
        self,
        app: caches.Key,
        wish: builds.Wish,
        decision: builds.Decision,
        before: status.Queue,
    ) -> status.Queued | None:
        """Note in the line which build is due; what was reported of it knows since when."""
        if decision.due is None:
            self._line.leave(app)
            return None
        was = before.waiting
        reported = was.since if was is not None and was.job == decision.due else ""
        return build_queue.waiting(wish, decision, self._line.join(app, decision.due, reported))

    async def discard(self, manifest: Object) -> Sequence[str]:
        """Remove the Jobs of a deleted App; say which are still there."""
        uid = manifest["metadata"]["uid"]
        self._line.leave((manifest["metadata"]["namespace"], manifest["metadata"]["name"]))
        left = self._jobs.by_index(BY_UID, uid)
        for job in left:
            if "deletionTimestamp" not in job["metadata"]:
                await self._writer.remove(self._jobs, job)
        return [f"build {each['metadata']['name']}" for each in left]

    async def _start(
        self, order: build_jobs.Order, outcome: artefacts.Outcome, place: sources.Place
    ) -> artefacts.Outcome:
        app = order.namespace, order.app
        with self._line.begun(app, (self._platform.namespace, order.job)):
            refused = await self._without_place() or await self._without_registry(order)
            if refused is not None:
                return refused
            try:
                held = await credentials.read(self._writer.kube, place)
            except git_errors.GitError as trouble:
                return artefacts.Failed("SourceUnavailable", str(trouble), sources.RETRY_SECONDS)
            await self._starter.make(dataclasses.replace(order, credentials=held))
        self._line.leave(app)
        return outcome

    async def _without_place(self) -> artefacts.Waiting | None:
        """Say why no machine may run a build; that one may is believed for a while."""
        now = time.monotonic()
        if now < self._placed_until:
            return None
        nodes = await self._writer.kube.list(kinds.NODE)
        refused = build_places.refusal(nodes.items, self._platform.node_selector)
        if refused is None:
            self._placed_until = now + build_places.RETRY_SECONDS
        return refused

    async def _without_registry(self, order: build_jobs.Order) -> artefacts.Waiting | None:
        """Say what of the registry stands in the way of a build, before it begins."""
        held = build_jobs.let_in(order, self._platform, now=int(time.time()))
        if self._keeper is None:
            is_tried = self._platform.registry.is_tried
            return await registry_care.locked_out(held) if is_tried else None
        full = await self._keeper.refusal(self._platform.needed_bytes)
        return full or await registry_care.locked_out(held)

    async def _known(self, uid: str, cancel: builds.Cancel) -> list[build_outcomes.Build]:
        """Read the App's builds; what came of those that have ended is noted first."""
        found = []
        for job in self._jobs.by_index(BY_UID, uid):
            pods = self._pods.by_index(BY_JOB, job["metadata"]["name"])
            if build_outcomes.has_ended_unnoted(job, pods):
                found.append(build_outcomes.read(await self._end(job, None)))
            elif build_outcomes.is_running(job) and _is_unwanted(job, cancel):
                found.append(build_outcomes.read(await self._end(job, cancel)))
            else:
                found.append(build_outcomes.read(job, pods))
        for old in builds.superfluous(found):
            forgotten = self._jobs.get(self._platform.namespace, old.job)
            if forgotten is not None and "deletionTimestamp" not in forgotten["metadata"]:
                await self._writer.remove(self._jobs, forgotten)
        return found

    async def _end(self, job: Object, cancel: builds.Cancel | None) -> Object:
        """Keep the log of a build and what came of it; end it if somebody wants that."""
        metadata, kube = job["metadata"], self._writer.kube
        # The cache of pods may be behind that of Jobs.
        pods = await kube.list(
            kinds.POD, metadata["namespace"], labels=f"{_JOB_LABEL}={metadata['name']}"
        )
        if cancel is None and not build_outcomes.has_ended_unnoted(job, pods.items):
            raise children.Moved(f"Job {metadata['name']!r} is ahead of the caches")
        log = await build_logs.read_pods(kube, pods.items)
        await build_logs.keep(kube, job, log, field_manager=children.FIELD_MANAGER)
        if cancel is not None:
            outcome = build_outcomes.cancelled(job, pods.items, cancel.by, now=build_line.now())
        else:
            image = build_jobs.image_name(self._platform, metadata["labels"][names.APP_UID_LABEL])
            outcome = build_outcomes.outcome_of(job, pods.items, image, now=build_line.now())
        noted = {build_outcomes.OUTCOME_ANNOTATION: build_outcomes.encode(outcome)}
        # In one write: a build that is told to be cancelled never goes on.
        body: Object = {"metadata": {"annotations": noted}}
        body |= {"spec": {"suspend": True}} if cancel is not None else {}
        # What has been noted of its end stays: another leader may have come first.
        body["metadata"]["resourceVersion"] = metadata["resourceVersion"]
        self._writer.count("patch", "Job")
        written = await kube.patch(
            kinds.JOB,
            metadata["name"],
            metadata["namespace"],
            body,
            field_manager=children.FIELD_MANAGER,
        )
        self._jobs.put(written)
        _log.info("build.ended", job=metadata["name"], state=outcome["state"])
        # The volumes of a pod stay as long as it does.
        for pod in pods.items:
            await self._writer.remove(self._pods, pod)
        self._line.wake_next(self._wake)
        return written

    async def _ask(self, place: sources.Place, refs: Collection[str]) -> dict[str, str]:
        try:
            held = await credentials.read(self._writer.kube, place)
            if place.speaks_ssh:
                asked = build_jobs.Question(place.repo, place.namespace, held)
                return await ref_jobs.refs(self._writer, self._platform, asked, refs)
        except errors.KubeError as exc:
            raise git_errors.Hindered(f"the repository cannot be asked: {exc}") from exc
        return await self._remote.refs(place.repo, refs, held.get("token", "").strip())

    def _moved(self, place: sources.Place) -> None:
        for app in self._watchers.get(place, ()):
            self._wake(app)

    def _changed(self, change: caches.Change) -> None:
        for manifest in (change.after, change.before):
            if manifest is not None:
                labels = manifest["metadata"].get("labels") or {}
                app = labels.get(builds.BUILD_OF_LABEL, "")
                self._wake((labels.get(builds.NAMESPACE_LABEL, ""), app))
                break


def _order(
    wish: builds.Wish,
    due: status.Queued,
    decision: builds.Decision,
    known: Sequence[build_outcomes.Build],
    app: caches.Key,
) -> build_jobs.Order:
    why = dataclasses.replace(decision.why, wanted=due.since, created=build_line.now())
    return build_jobs.Order(
        job=due.job,
        app=app[1],
        namespace=app[0],
        uid=wish.uid,
        source=wish.source,
        commit=due.commit,
        branch=due.ref,
        clear_cache=wish.request.clear_cache,
        why=why,
        base_scope=next((each.scope for each in known if each.job == decision.why.base), ""),
        machine=build_outcomes.last_machine(known),
    )


def _is_unwanted(job: Object, cancel: builds.Cancel) -> bool:
    return cancel.ends(job["metadata"]["name"], build_outcomes.read_started(job).wanted)


def _uid_of(manifest: Mapping[str, Any]) -> Iterator[str]:
    uid = (manifest["metadata"].get("labels") or {}).get(names.APP_UID_LABEL)
    if uid:
        yield uid


def _job_of(manifest: Mapping[str, Any]) -> Iterator[str]:
    job = (manifest["metadata"].get("labels") or {}).get(_JOB_LABEL)
    if job:
        yield job
