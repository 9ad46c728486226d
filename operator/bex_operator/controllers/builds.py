"""Makes images out of repositories: starts the Jobs of builds and keeps what came of each."""

import asyncio
import dataclasses
import datetime
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from bex_operator.api import names
from bex_operator.controllers import (
    children,
    credentials,
    ref_jobs,
    registry_care,
    sources,
    views,
)
from bex_operator.git import errors as git_errors
from bex_operator.kube import build_logs, caches, client, errors, kinds
from bex_operator.plan import artefacts, build_jobs, build_outcomes, build_turns, builds

if TYPE_CHECKING:
    from bex_operator.controllers import webhooks
    from bex_operator.git import remotes

Object = dict[str, Any]
BY_UID = "app-uid"
BY_JOB = "job"
RUNNING = "running"
"""Jobs that have not ended, by tenant."""
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
        self._turns = build_turns.Turns(build_turns.Limits(platform.limit, platform.limit_each))
        self._due: dict[caches.Key, tuple[str, str]] = {}
        self._starting: dict[str, str] = {}
        self._watchers: dict[sources.Place, set[caches.Key]] = {}
        self._wake: Callable[[caches.Key], None] = lambda _: None
        kube = writer.kube
        self._jobs = caches.Cache(kube, caches.Scope(kinds.JOB, platform.namespace, labels=_MINE))
        self._pods = caches.Cache(kube, caches.Scope(kinds.POD, platform.namespace, labels=_MINE))
        self._jobs.index(BY_UID, _uid_of)
        self._jobs.index(RUNNING, _tenant_of_running)
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
            return artefacts.Failed(
                "NotSupportedYet", "spec.builder: buildpack is not supported yet; use auto"
            )
        request = builds.read_request(manifest)
        place = sources.Place(source.repo, app[0], source.clone_secret)
        self._watchers.setdefault(place, set()).add(app)
        ref = request.ref or source.branch
        noted = metadata.get("annotations") or {}
        pushed = noted.get(names.PUSHED_ANNOTATION, "")
        head = self._sources.head(place, ref, requested=request.at, pushed=pushed)
        wish = builds.Wish(metadata["uid"], source, head, request, metadata.get(views.CHANGED_BY))
        if (failed := await self._go_on(wish, app, place)) is not None:
            return failed
        known = await self._known(metadata["uid"], builds.read_cancel(manifest))
        decision = builds.decide(wish, known, app_name=app[1])
        wanted = self._note_due(app, decision.due)
        if decision.start is not None and not self._has_turn(app):
            decision = builds.decide(wish, known, app_name=app[1], has_turn=False)
        if decision.start is None:
            return decision.outcome
        order = _order(wish, decision, known, app)
        order = dataclasses.replace(
            order, why=dataclasses.replace(decision.why, wanted=wanted, created=_now())
        )
        return await self._start(order, decision.outcome, place)

    async def discard(self, manifest: Object) -> Sequence[str]:
        """Remove the Jobs of a deleted App; say which are still there."""
        uid = manifest["metadata"]["uid"]
        self._note_due((manifest["metadata"]["namespace"], manifest["metadata"]["name"]), None)
        left = self._jobs.by_index(BY_UID, uid)
        for job in left:
            if "deletionTimestamp" not in job["metadata"]:
                await self._writer.remove(self._jobs, job)
        return [f"build {each['metadata']['name']}" for each in left]

    async def _start(
        self, order: build_jobs.Order, outcome: artefacts.Outcome, place: sources.Place
    ) -> artefacts.Outcome:
        # Noted before the first await: whoever decides meanwhile has to count it.
        self._starting[order.job] = order.namespace
        self._turns.began((order.namespace, order.app), order.namespace)
        try:
            if (refused := await self._without_registry(order)) is not None:
                return refused
            try:
                held = await credentials.read(self._writer.kube, place)
            except git_errors.GitError as trouble:
                return artefacts.Failed("SourceUnavailable", str(trouble), sources.RETRY_SECONDS)
            await self._make(dataclasses.replace(order, credentials=held))
        finally:
            del self._starting[order.job]
        self._due.pop((order.namespace, order.app), None)
        return outcome

    async def _without_registry(self, order: build_jobs.Order) -> artefacts.Waiting | None:
        """Say what of the registry stands in the way of a build, before it begins."""
        if self._keeper is None:
            return None
        held = build_jobs.let_in(order, self._platform, now=int(time.time()))
        full = await self._keeper.refusal(self._platform.needed_bytes)
        return full or await self._keeper.locked_out(held)

    async def _make(self, order: build_jobs.Order) -> None:
        """Create the Job, held back until its credentials are there; one of this App counts."""
        job = build_jobs.render(order, self._platform)
        self._writer.count("create", "Job")
        try:
            made = await self._writer.kube.create(job, field_manager=children.FIELD_MANAGER)
        except errors.AlreadyExists:
            made = await self._writer.kube.get(kinds.JOB, order.job, self._platform.namespace)
            if made["metadata"].get("labels", {}).get(names.APP_UID_LABEL) != order.uid:
                raise children.NameTaken("Job", order.job) from None
        self._jobs.put(made)
        if build_outcomes.is_held(made):
            await self._release(made, order)

    async def _release(self, job: Object, order: build_jobs.Order) -> None:
        """Give a Job its credentials, which go with it, and let it run."""
        secret = build_jobs.render_secret(order, self._platform, now=int(time.time()))
        owner = {"apiVersion": "batch/v1", "kind": "Job"}
        owner |= {key: job["metadata"][key] for key in ("name", "uid")}
        secret["metadata"]["ownerReferences"] = [owner]
        self._writer.count("apply", "Secret")
        await self._writer.kube.apply(secret, field_manager=children.FIELD_MANAGER)
        self._writer.count("patch", "Job")
        try:
            released = await self._writer.kube.patch(
                kinds.JOB,
                order.job,
                self._platform.namespace,
                build_outcomes.release(job),
                content_type=client.JSON_PATCH,
                field_manager=children.FIELD_MANAGER,
            )
        except errors.Invalid as moved:
            # Another leader may have seen to it that it is cancelled: then it never runs.
            raise children.Moved(f"Job {order.job!r} is ahead of the caches") from moved
        self._jobs.put(released)
        _log.info("build.started", job=order.job, commit=order.commit, repo=order.source.repo)

    async def _go_on(
        self, wish: builds.Wish, app: caches.Key, place: sources.Place
    ) -> artefacts.Failed | None:
        """Let Jobs run that an operator made and did not live to release.

        What was asked for may be another repository by now, whose credentials are none of theirs.
        """
        for job in self._jobs.by_index(BY_UID, wish.uid):
            if not build_outcomes.is_held(job) or "deletionTimestamp" in job["metadata"]:
                continue
            build = build_outcomes.read(job)
            if build.source != builds.source_digest(wish.source):
                await self._writer.remove(self._jobs, job)
                continue
            order = build_jobs.Order(
                job=build.job,
                app=app[1],
                namespace=app[0],
                uid=wish.uid,
                source=wish.source,
                commit=build.commit,
                branch=build.branch,
            )
            try:
                held = await credentials.read(self._writer.kube, place)
            except git_errors.GitError as trouble:
                return artefacts.Failed("SourceUnavailable", str(trouble), sources.RETRY_SECONDS)
            await self._release(job, dataclasses.replace(order, credentials=held))
        return None

    async def _known(self, uid: str, cancel: builds.Cancel) -> list[build_outcomes.Build]:
        """Read the App's builds; what came of those that have ended is noted first."""
        found = []
        for job in self._jobs.by_index(BY_UID, uid):
            if build_outcomes.has_ended_unnoted(job):
                found.append(build_outcomes.read(await self._end(job, None)))
            elif job["metadata"]["name"] == cancel.job and build_outcomes.is_running(job):
                found.append(build_outcomes.read(await self._end(job, cancel)))
            else:
                pods = self._pods.by_index(BY_JOB, job["metadata"]["name"])
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
        log = await build_logs.read_pods(kube, pods.items)
        await build_logs.keep(kube, job, log, field_manager=children.FIELD_MANAGER)
        if cancel is not None:
            outcome = build_outcomes.cancelled(job, pods.items, cancel.by, now=_now())
        else:
            image = build_jobs.image_name(self._platform, metadata["labels"][names.APP_UID_LABEL])
            outcome = build_outcomes.outcome_of(job, pods.items, image, now=_now())
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
        self._wake_next()
        return written

    def _has_turn(self, app: caches.Key) -> bool:
        now = asyncio.get_running_loop().time()
        return self._turns.may_begin(app, app[0], self._running(), now)

    def _wake_next(self) -> None:
        now = asyncio.get_running_loop().time()
        for app in self._turns.next(self._running(), now):
            self._wake(app)

    def _running(self) -> Counter[str]:
        """Count the builds that run, by tenant."""
        # By the index: every App that waits asks, and reading all Jobs for each is what takes long.
        running = Counter(self._jobs.tally(RUNNING))
        running.update(
            tenant
            for job, tenant in self._starting.items()
            if (self._platform.namespace, job) not in self._jobs
        )
        return running

    def _note_due(self, app: caches.Key, due: str | None) -> str:
        """Note which build an App wants; return since when it wants that one."""
        if due is None:
            self._due.pop(app, None)
            self._turns.leave(app, app[0])
            return ""
        job, since = self._due.get(app, ("", ""))
        if job != due:
            since = _now()
            self._due[app] = due, since
        return since

    async def _ask(self, place: sources.Place, refs: Collection[str]) -> dict[str, str]:
        try:
            held = await credentials.read(self._writer.kube, place)
            if place.speaks_ssh:
                asked = build_jobs.Question(place.repo, place.namespace, held)
                return await ref_jobs.refs(self._writer, self._platform, asked, refs)
        except errors.KubeError as exc:
            raise git_errors.Unavailable(f"the repository cannot be asked: {exc}") from exc
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
    decision: builds.Decision,
    known: Sequence[build_outcomes.Build],
    app: caches.Key,
) -> build_jobs.Order:
    assert decision.start is not None  # noqa: S101 - the caller has looked
    assert wish.head.commit is not None  # noqa: S101 - nothing begins without one
    return build_jobs.Order(
        job=decision.start,
        app=app[1],
        namespace=app[0],
        uid=wish.uid,
        source=wish.source,
        commit=wish.head.commit,
        branch=wish.request.ref or wish.source.branch,
        clear_cache=wish.request.clear_cache,
        base_scope=next((each.scope for each in known if each.job == decision.why.base), ""),
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _uid_of(manifest: Mapping[str, Any]) -> Iterator[str]:
    uid = (manifest["metadata"].get("labels") or {}).get(names.APP_UID_LABEL)
    if uid:
        yield uid


def _tenant_of_running(manifest: Mapping[str, Any]) -> Iterator[str]:
    if build_outcomes.is_running(manifest):
        yield (manifest["metadata"].get("labels") or {}).get(builds.NAMESPACE_LABEL, "")


def _job_of(manifest: Mapping[str, Any]) -> Iterator[str]:
    job = (manifest["metadata"].get("labels") or {}).get(_JOB_LABEL)
    if job:
        yield job
