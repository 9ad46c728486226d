"""The log of a build, while it runs: step after step, each line with the time since its start."""

import asyncio
import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich import text

from bex_operator.api import names
from bex_operator.kube import build_logs, kinds
from bex_operator.kube import client as kube
from bex_operator.kube import errors as kube_errors
from bex_operator.plan import build_outcomes

Object = Mapping[str, Any]
LOOK_SECONDS = 0.3
Write = Callable[[text.Text], None]


@dataclass
class _Shown:
    """What was written so far."""

    lines: dict[tuple[str, str], str] = field(default_factory=dict)
    """By pod and step, the time of the last line."""
    ended: set[tuple[str, str]] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    """Steps of which anything was written."""


class Follower:
    """Follows the log of one build; one that follows it again goes on where it was."""

    def __init__(self, cluster: kube.Client, job: str, write: Write) -> None:
        self._cluster = cluster
        self._job = job
        self._write = write
        self._shown = _Shown()
        self._said = ""

    async def follow(self) -> Object:
        """Write what the build prints until it has ended; return its Job."""
        while True:
            job = await self._cluster.get(kinds.JOB, self._job, names.BUILD_NAMESPACE)
            label = f"batch.kubernetes.io/job-name={self._job}"
            pods = await self._cluster.list(kinds.POD, names.BUILD_NAMESPACE, labels=label)
            for pod in sorted(pods.items, key=lambda each: each["metadata"]["creationTimestamp"]):
                await self._pod(job, pod)
            if build_outcomes.read(job).state != "Running":
                await self._rest()
                return job
            if not any(map(_has_begun, pods.items)):
                self._say("waits for a machine and the program that builds")
            await asyncio.sleep(LOOK_SECONDS)

    async def _pod(self, job: Object, pod: Object) -> None:
        for step in build_outcomes.steps_of(pod):
            state = _state_of(pod, step)
            place = (pod["metadata"]["uid"], step)
            if place in self._shown.ended:
                continue
            if not {"running", "terminated"} & state.keys():
                return
            await self._step(job, pod, step)
            if "terminated" in state:
                self._shown.ended.add(place)
                continue
            return

    async def _step(self, job: Object, pod: Object, step: str) -> None:
        """Write what a step prints until it ends or falls silent."""
        place = (pod["metadata"]["uid"], step)
        path = kinds.POD.path(names.BUILD_NAMESPACE, pod["metadata"]["name"], "log")
        params = {"container": step, "timestamps": "true", "follow": "true"}
        try:
            async for raw in self._cluster.lines(path, params=params):
                time, _, content = raw.decode(errors="replace").rstrip("\n").partition(" ")
                if time > self._shown.lines.get(place, ""):
                    self._shown.lines[place] = time
                    self._line(job, step, time, content)
        except (kube_errors.BadRequest, kube_errors.NotFound, kube_errors.Unreachable):
            return  # not begun, gone, or cut off: whoever asks again goes on behind the last line

    def _line(self, job: Object, step: str, time: str, content: str) -> None:
        if step not in self._shown.named:
            self._shown.named.add(step)
            self._write(text.Text(f"== {step} ==", style="bold"))
        self._write(text.Text.assemble((f"{_since(job, time):6.1f} s ", "dim"), content))

    async def _rest(self) -> None:
        """Write the steps of which nothing was seen: their pod went before they were read."""
        try:
            kept = await self._cluster.get(kinds.CONFIG_MAP, self._job, names.BUILD_NAMESPACE)
        except kube_errors.NotFound:
            return
        for step, content in build_logs.by_step(build_logs.unpack(kept)):
            if step not in self._shown.named:
                self._write(text.Text(f"== {step} ==", style="bold"))
                for line in content.splitlines():
                    self._write(text.Text(line))

    def _say(self, words: str) -> None:
        if words != self._said:
            self._said = words
            self._write(text.Text(words, style="dim"))


def newest(jobs: Iterable[Object]) -> Object | None:
    """Return the newest Job."""
    return max(jobs, key=_created, default=None)


def _created(job: Object) -> tuple[str, str]:
    started = build_outcomes.read_started(job)
    return job["metadata"]["creationTimestamp"], started.created


def _state_of(pod: Object, step: str) -> Mapping[str, Any]:
    status = pod.get("status") or {}
    for each in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if each["name"] == step:
            state: Mapping[str, Any] = each.get("state") or {}
            return state
    return {}


def _has_begun(pod: Object) -> bool:
    return bool({"running", "terminated"} & _state_of(pod, build_outcomes.STEPS[0]).keys())


def _since(job: Object, time: str) -> float:
    began = build_outcomes.read_started(job).created or job["metadata"]["creationTimestamp"]
    # Python reads microseconds at most; the kubelet writes nanoseconds.
    whole, _, fraction = time.rstrip("Z").partition(".")
    read = datetime.datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}+00:00")
    return max(0.0, (read - datetime.datetime.fromisoformat(began)).total_seconds())
