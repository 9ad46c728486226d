"""Learns where refs of ssh repositories point: by a Job, which alone holds the deploy key.

The operator speaks no ssh. A Job costs seconds where https costs two requests, so these
repositories are asked less often.
"""

import asyncio
from collections.abc import Collection
from typing import Any

from bex_operator.controllers import children
from bex_operator.git import errors as git_errors
from bex_operator.kube import client, errors, kinds
from bex_operator.plan import build_jobs, build_outcomes

Object = dict[str, Any]
WAIT_SECONDS = 120.0
LOOK_SECONDS = 0.5


async def refs(
    writer: children.Writer,
    platform: build_jobs.Platform,
    asked: build_jobs.Question,
    wanted: Collection[str],
) -> dict[str, str]:
    """Return the commits of those of *wanted* that the repository has.

    Raises: git.errors, and KubeError.
    """
    job, secret = build_jobs.render_question(asked, sorted(wanted), platform)
    name, namespace = job["metadata"]["name"], platform.namespace
    writer.count("create", "Job")
    try:
        made = await writer.kube.create(job, field_manager=children.FIELD_MANAGER)
    except errors.AlreadyExists:
        # Of an operator that did not live to read the answer.
        await writer.kube.delete(kinds.JOB, name, namespace)
        raise git_errors.Hindered("an earlier question is still under way") from None
    try:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name}
        secret["metadata"]["ownerReferences"] = [{**owner, "uid": made["metadata"]["uid"]}]
        writer.count("apply", "Secret")
        await writer.kube.apply(secret, field_manager=children.FIELD_MANAGER)
        writer.count("patch", "Job")
        await writer.kube.patch(
            kinds.JOB,
            name,
            namespace,
            {"spec": {"suspend": False}},
            field_manager=children.FIELD_MANAGER,
        )
        async with asyncio.timeout(WAIT_SECONDS):
            return await _answer(writer.kube, name, namespace)
    except TimeoutError:
        raise git_errors.Unavailable("the question about its refs found no machine") from None
    finally:
        writer.count("delete", "Job")
        await writer.kube.delete(kinds.JOB, name, namespace)


async def _answer(kube: client.Client, name: str, namespace: str) -> dict[str, str]:
    while True:
        job = await kube.get(kinds.JOB, name, namespace)
        if not build_outcomes.is_running(job):
            break
        await asyncio.sleep(LOOK_SECONDS)
    label = f"batch.kubernetes.io/job-name={name}"
    pods = await kube.list(kinds.POD, namespace, labels=label)
    told = build_outcomes.answer_of(pods.items)
    if told is None:
        raise git_errors.Unavailable("the question about its refs ended without an answer")
    if told.get("fault"):
        kind = git_errors.Refused if told["fault"] == "repository" else git_errors.Unavailable
        raise kind(str(told.get("message", ""))[:300])
    return {str(ref): str(commit) for ref, commit in (told.get("refs") or {}).items()}
