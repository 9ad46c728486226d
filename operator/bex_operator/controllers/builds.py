"""Makes images out of repositories: starts the Jobs of builds and keeps what came of each."""

import base64
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import structlog

from bex_operator.api import names
from bex_operator.controllers import children, sources
from bex_operator.git import errors as git_errors
from bex_operator.git import remotes
from bex_operator.kube import build_logs, caches, errors, kinds
from bex_operator.plan import artefacts, build_jobs, builds

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
        remote: remotes.Remotes,
    ) -> None:
        self._platform = platform
        self._writer = writer
        self._remote = remote
        self._sources = sources.Sources(self._ask, self._moved, poll_seconds=platform.poll_seconds)
        self._waiting: dict[str, str] = {}
        self._starting: dict[str, str] = {}
        self._watchers: dict[sources.Place, set[caches.Key]] = {}
        self._wake: Callable[[caches.Key], None] = lambda _: None
        kube = writer.kube
        self._jobs = caches.Cache(kube, caches.Scope(kinds.JOB, platform.namespace, labels=_MINE))
        self._pods = caches.Cache(kube, caches.Scope(kinds.POD, platform.namespace, labels=_MINE))
        self._jobs.index(BY_UID, _uid_of)
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
        head = self._sources.head(place, ref, requested=request.at)
        wish = builds.Wish(metadata["uid"], source, head, request)
        known = await self._known(metadata["uid"])
        decision = builds.decide(
            wish, known, app_name=app[1], has_turn=self._has_turn(metadata["uid"], app[0])
        )
        if decision.start is None:
            queued = isinstance(decision.outcome, artefacts.Waiting) and (
                decision.outcome.reason == "BuildQueued"
            )
            self._note_waiting(metadata["uid"], app[0] if queued else None)
            return decision.outcome
        self._note_waiting(metadata["uid"], None)
        assert head.commit is not None  # noqa: S101 - nothing begins without one
        order = build_jobs.Order(
            job=decision.start,
            app=app[1],
            namespace=app[0],
            uid=metadata["uid"],
            source=source,
            commit=head.commit,
            branch=ref,
            clear_cache=request.clear_cache,
        )
        return await self._start(order, decision.outcome, place)

    async def discard(self, manifest: Object) -> Sequence[str]:
        """Remove the Jobs of a deleted App; say which are still there."""
        uid = manifest["metadata"]["uid"]
        self._note_waiting(uid, None)
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
        try:
            try:
                token = await self._token(place)
            except git_errors.GitError as trouble:
                return artefacts.Failed("SourceUnavailable", str(trouble), sources.RETRY_SECONDS)
            await self._make(order, token)
        finally:
            del self._starting[order.job]
        return outcome

    async def _make(self, order: build_jobs.Order, clone_token: str) -> None:
        """Create Secret and Job; those that are there already count if they are this App's."""
        order = dataclasses.replace(order, clone_token=clone_token)
        job = build_jobs.render(order, self._platform)
        secret = build_jobs.render_secret(order, self._platform, now=int(time.time()))
        self._writer.count("apply", "Secret")
        await self._writer.kube.apply(secret, field_manager=children.FIELD_MANAGER)
        self._writer.count("create", "Job")
        try:
            made = await self._writer.kube.create(job, field_manager=children.FIELD_MANAGER)
        except errors.AlreadyExists:
            made = await self._writer.kube.get(kinds.JOB, order.job, self._platform.namespace)
            if made["metadata"].get("labels", {}).get(names.APP_UID_LABEL) != order.uid:
                raise children.NameTaken("Job", order.job) from None
        self._jobs.put(made)
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": order.job}
        owner["uid"] = made["metadata"]["uid"]
        secret["metadata"]["ownerReferences"] = [owner]
        await self._writer.kube.apply(secret, field_manager=children.FIELD_MANAGER)
        _log.info("build.started", job=order.job, commit=order.commit, repo=order.source.repo)

    async def _known(self, uid: str) -> list[builds.Build]:
        """Read the App's builds; what came of those that have ended is noted first."""
        found = []
        for job in self._jobs.by_index(BY_UID, uid):
            if builds.has_ended_unnoted(job):
                found.append(builds.read(await self._note(job, uid)))
            else:
                pods = self._pods.by_index(BY_JOB, job["metadata"]["name"])
                found.append(builds.read(job, pods))
        for old in builds.superfluous(found):
            forgotten = self._jobs.get(self._platform.namespace, old.job)
            if forgotten is not None and "deletionTimestamp" not in forgotten["metadata"]:
                await self._writer.remove(self._jobs, forgotten)
        return found

    async def _note(self, job: Object, uid: str) -> Object:
        metadata = job["metadata"]
        # The cache of pods may be behind that of Jobs.
        pods = await self._writer.kube.list(
            kinds.POD, metadata["namespace"], labels=f"{_JOB_LABEL}={metadata['name']}"
        )
        log = await build_logs.read_pods(self._writer.kube, pods.items)
        manager = children.FIELD_MANAGER
        await build_logs.keep(self._writer.kube, job, log, field_manager=manager)
        image = build_jobs.image_name(self._platform, uid)
        outcome = builds.outcome_of(job, pods.items, image)
        text = builds.encode(outcome)
        self._writer.count("patch", "Job")
        written = await self._writer.kube.patch(
            kinds.JOB,
            metadata["name"],
            metadata["namespace"],
            {"metadata": {"annotations": {builds.OUTCOME_ANNOTATION: text}}},
            field_manager=children.FIELD_MANAGER,
        )
        self._jobs.put(written)
        _log.info("build.ended", job=metadata["name"], state=outcome["state"])
        # The volumes of a pod stay as long as it does.
        for pod in pods.items:
            await self._writer.remove(self._pods, pod)
        return written

    def _has_turn(self, uid: str, tenant: str) -> bool:
        running: Counter[str] = Counter(self._starting.values())
        for namespace, name in self._jobs.keys():  # noqa: SIM118 - no mapping
            job = self._jobs.get(namespace, name)
            if job is not None and builds.is_running(job):
                running[job["metadata"]["labels"].get(builds.NAMESPACE_LABEL, "")] += 1
        others = (each for waiter, each in self._waiting.items() if waiter != uid)
        platform = self._platform
        return builds.may_start(
            running, others, tenant, limit=platform.limit, each=platform.limit_each
        )

    def _note_waiting(self, uid: str, tenant: str | None) -> None:
        if tenant is None:
            self._waiting.pop(uid, None)
        else:
            self._waiting[uid] = tenant

    async def _token(self, place: sources.Place) -> str:
        """Read the token for a private repository."""
        if place.secret is None:
            return ""
        try:
            secret = await self._writer.kube.get(kinds.SECRET, place.secret, place.namespace)
        except errors.NotFound:
            raise git_errors.Refused(
                f"spec.cloneSecret: there is no Secret {place.secret!r}"
            ) from None
        if (secret["metadata"].get("labels") or {}).get(names.PROTECTED_LABEL) == "true":
            raise git_errors.Refused("spec.cloneSecret: the Secret is the platform's")
        encoded = (secret.get("data") or {}).get("token")
        if not encoded:
            raise git_errors.Refused("spec.cloneSecret: the Secret has no key 'token'")
        return base64.b64decode(encoded).decode().strip()

    async def _ask(self, place: sources.Place, refs: Any) -> dict[str, str]:
        try:
            token = await self._token(place)
        except errors.KubeError as exc:
            raise git_errors.Unavailable(f"the clone Secret cannot be read: {exc}") from exc
        return await self._remote.refs(place.repo, refs, token)

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


def _uid_of(manifest: Mapping[str, Any]) -> Iterator[str]:
    uid = (manifest["metadata"].get("labels") or {}).get(names.APP_UID_LABEL)
    if uid:
        yield uid


def _job_of(manifest: Mapping[str, Any]) -> Iterator[str]:
    job = (manifest["metadata"].get("labels") or {}).get(_JOB_LABEL)
    if job:
        yield job
