"""Makes the Jobs of builds: held back until their credentials are there, or never to run."""

import dataclasses
import time
from typing import Any

import structlog

from bex_operator.api import names
from bex_operator.controllers import build_line, children, credentials, sources
from bex_operator.git import errors as git_errors
from bex_operator.kube import caches, client, errors, kinds
from bex_operator.plan import artefacts, build_jobs, build_outcomes, builds

Object = dict[str, Any]
_log = structlog.get_logger(__name__)


class Starter:
    """Makes Jobs in the namespace of builds; *jobs* is a cache of them, with an index by App."""

    def __init__(
        self,
        platform: build_jobs.Platform,
        writer: children.Writer,
        jobs: caches.Cache,
        by_uid: str,
    ) -> None:
        self._platform = platform
        self._writer = writer
        self._jobs = jobs
        self._by_uid = by_uid

    async def make(self, order: build_jobs.Order) -> None:
        """Create the Job, held back until its credentials are there."""
        made = await self._create(build_jobs.render(order, self._platform), order)
        if build_outcomes.is_held(made):
            await self._release(made, order)

    async def withdraw(
        self, order: build_jobs.Order, cancel: builds.Cancel
    ) -> build_outcomes.Build:
        """Keep of a build that was cancelled before it began a Job that never runs."""
        job = build_jobs.render(order, self._platform)
        outcome = build_outcomes.cancelled(job, (), cancel.by, now=build_line.now())
        noted = build_outcomes.encode(outcome)
        job["metadata"]["annotations"][build_outcomes.OUTCOME_ANNOTATION] = noted
        return build_outcomes.read(await self._create(job, order))

    async def _create(self, job: Object, order: build_jobs.Order) -> Object:
        """Create the Job; one of this App that is there counts."""
        self._writer.count("create", "Job")
        try:
            made = await self._writer.kube.create(job, field_manager=children.FIELD_MANAGER)
        except errors.AlreadyExists:
            made = await self._writer.kube.get(kinds.JOB, order.job, self._platform.namespace)
            if made["metadata"].get("labels", {}).get(names.APP_UID_LABEL) != order.uid:
                raise children.NameTaken("Job", order.job) from None
        self._jobs.put(made)
        return made

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

    async def go_on(
        self, wish: builds.Wish, app: caches.Key, place: sources.Place
    ) -> artefacts.Failed | None:
        """Let Jobs run that an operator made and did not live to release.

        What was asked for may be another repository by now, whose credentials are none of theirs.
        """
        for job in self._jobs.by_index(self._by_uid, wish.uid):
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
