"""Plays what runs the Jobs of builds: each step says what a test wants, and no image is made."""

import asyncio
import base64
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bex_operator.api import names
from bex_operator.kube import caches, client, errors, kinds
from bex_operator.plan import build_jobs, build_outcomes

Object = dict[str, Any]
REPO = "https://git.example.com/team/web"
_IMAGES = itertools.count(1)


def platform(namespace: str, **more: Any) -> build_jobs.Platform:
    """How builds are made in a namespace of the test's own."""
    registry = build_jobs.Registry("registry:5000", "example.com", (), b"k" * 32)
    given = {"registry": registry, "poll_seconds": 3600.0, **more}
    return build_jobs.Platform(namespace, "example.com/builder:1", **given)


@dataclass
class Repository:
    """A git server with one repository; its head is what the test says."""

    head: str = "a" * 40
    asked: int = 0

    async def refs(self, _: str, wanted: Collection[str], __: str = "") -> dict[str, str]:
        """Answer as `git.remotes` does."""
        self.asked += 1
        return dict.fromkeys(wanted, self.head)


@dataclass
class Machines:
    """Runs every Job of a namespace that is let run, each step to its end at once."""

    kube: client.Client
    namespace: str
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Jobs stay where they are while this is not set."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """The same of the Jobs of one commit."""
    started: Counter[str] = field(default_factory=Counter)
    """How often the pods of a commit were made."""
    told: dict[str, Object] = field(default_factory=dict)
    """By commit, what the clone step says besides."""
    program: Path | None = None
    """The program of the steps; run for Jobs that ask for refs."""
    folder: Path = Path()
    """Where it finds what its pod would mount."""

    async def run(self) -> None:
        """Go on until cancelled."""
        jobs = caches.Cache(self.kube, caches.Scope(kinds.JOB, self.namespace))
        changed: asyncio.Queue[caches.Key] = asyncio.Queue()
        jobs.listen(lambda change: changed.put_nowait(change.key))
        watching = asyncio.create_task(jobs.run())
        ran: set[str] = set()
        try:
            while True:
                key = await changed.get()
                await self.open.wait()
                if (job := jobs.get(*key)) is not None:
                    await self._gate(job).wait()
                    job = jobs.get(*key)
                if job is None or job["metadata"]["uid"] in ran or job["spec"].get("suspend"):
                    continue
                ran.add(job["metadata"]["uid"])
                with contextlib.suppress(errors.KubeError):
                    await self._play(job)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def _gate(self, job: Object) -> asyncio.Event:
        noted = job["metadata"].get("annotations") or {}
        return self.gates.get(noted.get(build_outcomes.COMMIT_ANNOTATION, ""), self.open)

    async def _play(self, job: Object) -> None:
        if job["metadata"]["labels"][names.COMPONENT_LABEL] == "refs":
            told = await self._ask(job)
            failed = "fault" in told
            await self._pod(job, {"refs": told}, failed=failed)
            await self._end(job, failed=failed)
            return
        commit = job["metadata"]["annotations"][build_outcomes.COMMIT_ANNOTATION]
        self.started[commit] += 1
        digest = f"sha256:{next(_IMAGES):064x}"
        steps: dict[str, Object] = {each: {} for each in build_outcomes.STEPS}
        steps["clone"] |= {"author": "Ada", "scope": commit, **self.told.get(commit, {})}
        steps["push"] |= {"digest": digest}
        failed = "skipped" in steps["clone"]
        await self._pod(job, steps, failed=failed)
        await self._end(job, failed=failed)

    async def _ask(self, job: Object) -> Object:
        """Run the step as its pod would; the Secret's files lie in a folder of the test's."""
        secret = await self.kube.get(kinds.SECRET, job["metadata"]["name"], self.namespace)
        for key, value in secret["data"].items():
            place = self.folder / key.replace("clone-", "clone/")
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(base64.b64decode(value))
        (step,) = job["spec"]["template"]["spec"]["containers"]
        arguments = [each.replace("=/", f"={self.folder}/") for each in step["args"]]
        assert self.program is not None
        result = self.folder / "told.json"
        process = await asyncio.create_subprocess_exec(
            self.program, arguments[0], f"--result={result}", *arguments[1:]
        )
        await process.wait()
        found: Object = orjson.loads(result.read_bytes())
        return found

    async def _pod(self, job: Object, steps: dict[str, Object], *, failed: bool) -> None:
        name = job["metadata"]["name"]
        template = job["spec"]["template"]
        label = {
            "batch.kubernetes.io/job-name": name,
            "batch.kubernetes.io/controller-uid": job["metadata"]["uid"],
        }
        metadata = {
            "name": f"{name}-0",
            "namespace": self.namespace,
            "labels": {**template["metadata"]["labels"], **label},
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        await self.kube.create(pod, field_manager="kcm")
        ended = [_ended(step, told, code=int(failed)) for step, told in steps.items()]
        body = {
            "phase": "Failed" if failed else "Succeeded",
            "initContainerStatuses": ended[:-1],
            "containerStatuses": ended[-1:],
        }
        await self.kube.patch(
            kinds.POD, metadata["name"], self.namespace, {"status": body}, subresource="status"
        )

    async def _end(self, job: Object, *, failed: bool) -> None:
        now = "2026-01-01T00:00:00Z"
        types = ("FailureTarget", "Failed") if failed else ("SuccessCriteriaMet", "Complete")
        body: Object = {
            "startTime": now,
            "conditions": [
                {"type": each, "status": "True", "reason": "x", "lastTransitionTime": now}
                for each in types
            ],
        }
        if not failed:
            body["completionTime"] = now
        name = job["metadata"]["name"]
        await self.kube.patch(
            kinds.JOB, name, self.namespace, {"status": body}, subresource="status"
        )


def _ended(step: str, told: Object, *, code: int) -> Object:
    began = "2026-01-01T00:00:00.000Z"
    message = orjson.dumps({"step": step, "began": began, "seconds": 1.0, **told}).decode()
    state = {"terminated": {"exitCode": code, "message": message}}
    return {
        "name": step,
        "image": "example.com/builder:1",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }


@contextlib.asynccontextmanager
async def machines(kube: client.Client, namespace: str) -> AsyncIterator[Machines]:
    """Run the Jobs of builds in a namespace."""
    made = Machines(kube, namespace)
    made.open.set()
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
