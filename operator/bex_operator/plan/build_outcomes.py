"""What became of a build: read from its Job and pods while they are there, then from the Job alone.

What came of a build is written on the Job itself, which stays after its pod. Pure.
"""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from bex_operator.api import names, records

State = Literal["Running", "Succeeded", "Failed", "Skipped", "Cancelled"]

STEPS = ("clone", "resolve", "build", "push")
_PART_OF = {
    **dict.fromkeys(("analyze", "detect", "restore"), "build"),
    **dict.fromkeys(("export", "contents"), "push"),
}
"""Phases of buildpacks, by the step that they belong to where time is told."""

_OWNER_LABEL = "batch.kubernetes.io/controller-uid"
SOURCE_ANNOTATION = f"{names.GROUP}/source"
COMMIT_ANNOTATION = f"{names.GROUP}/commit"
BRANCH_ANNOTATION = f"{names.GROUP}/branch"
ORDER_ANNOTATION = f"{names.GROUP}/order"
"""Why a build was started, as JSON: see `Started`."""
OUTCOME_ANNOTATION = f"{names.GROUP}/outcome"
"""What came of a build, as JSON; there once it has ended."""


@dataclass(frozen=True, slots=True)
class Started:
    """Why a build was started, and what it may do without."""

    trigger: records.Trigger = "push"
    by: str | None = None
    """Who asked, or changed the spec."""
    wanted: str = ""
    """When the commit was known to be due."""
    created: str = ""
    """When its turn came."""
    base: str = ""
    """The Job whose image stays if this commit need not be built; empty: it must be."""


NO_REASON = Started()


@dataclass(frozen=True, slots=True)
class Build:
    """One build, as its Job tells."""

    job: str
    source: str
    commit: str
    branch: str
    state: State
    created: str
    step: str = ""
    image: str = ""
    """By digest, once it succeeded."""
    scope: str = ""
    """Digest of the files that count for it."""
    fault: str = ""
    message: str = ""
    trouble: str = ""
    """Why the step cannot begin, while that is so."""
    base: str = ""
    """The build whose image goes on instead, if this one was skipped."""
    made: records.Made | None = None
    machine: str = ""
    """Where it ran, if it came so far that something may be kept there."""


def last_machine(builds: Iterable[Build]) -> str:
    """Name the machine that keeps what the newest build left."""
    told = [each for each in builds if each.machine]
    return max(told, key=lambda each: each.created).machine if told else ""


def encode_started(started: Started) -> str:
    """Write why a build was started as the annotation has it."""
    return orjson.dumps(
        {key: getattr(started, key) for key in Started.__slots__ if getattr(started, key)}
    ).decode()


def read_started(job: Mapping[str, Any]) -> Started:
    """Read why a build was started."""
    noted = job["metadata"].get("annotations") or {}
    given = orjson.loads(noted.get(ORDER_ANNOTATION, "{}"))
    return Started(**{key: given[key] for key in Started.__slots__ if key in given})


def read(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]] = ()) -> Build:
    """Say what became of a build, from its Job and the Job's pods."""
    metadata = job["metadata"]
    noted = metadata.get("annotations") or {}
    told = orjson.loads(noted.get(OUTCOME_ANNOTATION, "{}"))
    pods = () if told else tuple(pods)
    return Build(
        job=metadata["name"],
        source=noted.get(SOURCE_ANNOTATION, ""),
        commit=noted.get(COMMIT_ANNOTATION, ""),
        branch=noted.get(BRANCH_ANNOTATION, ""),
        state=told.get("state", "Running"),
        created=metadata.get("creationTimestamp", ""),
        step=current_step(pods),
        image=told.get("image", ""),
        scope=told.get("scope", ""),
        fault=told.get("fault", ""),
        message=told.get("message", ""),
        trouble=_trouble(pods),
        base=read_started(job).base,
        made=_made(job, told),
        machine=told.get("machine", ""),
    )


def _made(job: Mapping[str, Any], told: Mapping[str, Any]) -> records.Made:
    started, noted = read_started(job), job["metadata"].get("annotations") or {}
    return records.Made(
        job=job["metadata"]["name"],
        commit=noted.get(COMMIT_ANNOTATION, ""),
        author=told.get("author", ""),
        subject=told.get("subject", ""),
        trigger=started.trigger,
        by=started.by,
        ended=told.get("ended", ""),
        seconds={key: float(value) for key, value in told.get("seconds", {}).items()},
    )


def has_ended_unnoted(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]] = ()) -> bool:
    """Tell whether what came of a Job has yet to be written on it."""
    noted = job["metadata"].get("annotations") or {}
    return _state(job, pods) != "Running" and OUTCOME_ANNOTATION not in noted


def is_running(job: Mapping[str, Any]) -> bool:
    """Tell whether a Job has not ended, nor was ended."""
    noted = job["metadata"].get("annotations") or {}
    return _state(job) == "Running" and OUTCOME_ANNOTATION not in noted


def is_held(job: Mapping[str, Any]) -> bool:
    """Tell whether a Job waits for its credentials."""
    return is_running(job) and bool(job["spec"].get("suspend"))


def release(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the JSON patch that lets a Job run which is held: only that one, and only as noted.

    The note of one that was cancelled meanwhile makes the API server refuse the patch.
    """
    metadata = job["metadata"]
    return [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "test", "path": "/metadata/annotations", "value": metadata["annotations"]},
        {"op": "replace", "path": "/spec/suspend", "value": False},
    ]


def outcome_of(
    job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], image: str, *, now: str
) -> dict[str, Any]:
    """Sum up a Job that has ended, from what its steps left."""
    pods = list(pods)
    state, told = _state(job, pods), {each["step"]: each for each in _told(pods)}
    made = _so_far(job, told) | {"state": state, "ended": now}
    if "build" in told:
        made |= _place(pods)
    digest = told.get("push", {}).get("digest")
    if state == "Succeeded" and digest:
        return made | {"image": f"{image}@{digest}"}
    skipped = told.get("clone", {}).get("skipped")
    if skipped:
        return made | {"state": "Skipped", "message": skipped}
    failed = next((each for each in told.values() if each.get("fault")), None)
    if failed is not None:
        message = f"{failed['step']}: {failed.get('message', '')}"
        return made | {"state": "Failed", "fault": failed["fault"], "message": message}
    return made | {"state": "Failed", "fault": "platform", "message": _why(job, pods)}


def answer_of(pods: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what the only step of a Job said at its end."""
    return next(iter(_told(pods)), None)


def cancelled(
    job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], by: str, *, now: str
) -> dict[str, Any]:
    """Sum up a build that *by* ended."""
    pods = list(pods)
    step = current_step(pods)
    at = f" during {step}" if step else " before it began"
    told = {each["step"]: each for each in _told(pods)}
    message = f"cancelled by {by}{at}"
    return _so_far(job, told) | {"state": "Cancelled", "ended": now, "by": by, "message": message}


def _so_far(job: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    clone, started = told.get("clone", {}), read_started(job)
    seconds: dict[str, float] = {}
    for step, said in told.items():
        if step == names.ROOM_STEP:
            continue  # in what passes before the clone
        part = _PART_OF.get(step, step)
        seconds[part] = round(seconds.get(part, 0.0) + said["seconds"], 3)
    waits = {
        "queue": _seconds_between(started.wanted, started.created),
        "place": _seconds_between(started.created, clone.get("began", "")),
    }
    return {
        "seconds": {key: each for key, each in waits.items() if each is not None} | seconds,
        **{field: clone.get(field, "") for field in ("author", "subject", "scope")},
        "strategy": told.get("resolve", {}).get("strategy", ""),
    }


def _place(pods: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Say where the newest pod ran."""
    places = [str(each.get("spec", {}).get("nodeName", "")) for each in _oldest_first(pods)]
    return {"machine": places[-1]} if places and places[-1] else {}


def _seconds_between(start: str, end: str) -> float | None:
    if not start or not end:
        return None
    read = datetime.datetime.fromisoformat
    return round(max(0.0, (read(end) - read(start)).total_seconds()), 3)


def encode(outcome: Mapping[str, Any]) -> str:
    """Write an outcome as the annotation has it."""
    return orjson.dumps(outcome).decode()


def steps_of(pod: Mapping[str, Any]) -> list[str]:
    """Name the steps of a pod in their order."""
    spec = pod["spec"]
    return [str(each["name"]) for each in (*spec.get("initContainers", ()), *spec["containers"])]


def current_step(pods: Iterable[Mapping[str, Any]]) -> str:
    """Name the step that runs; nothing before the pod has a machine."""
    for pod in pods:
        if not pod.get("spec", {}).get("nodeName"):
            continue
        for each in _containers(pod):
            if "terminated" not in each.get("state", {}):
                return str(each["name"])
        return STEPS[-1]
    return ""


def _trouble(pods: Iterable[Mapping[str, Any]]) -> str:
    """Say which image of the platform's a step lacks; the registry is the platform's, too."""
    for pod in pods:
        for each in _containers(pod):
            waiting = each.get("state", {}).get("waiting") or {}
            if waiting.get("reason") in {"ErrImagePull", "ImagePullBackOff"}:
                return f"{each['name']} cannot begin: image {each['image']!r} cannot be pulled"
    return ""


def _state(
    job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]] = ()
) -> Literal["Running", "Succeeded", "Failed"]:
    """Say how a Job ended. That its last step did well shows seconds before the Job says so."""
    for each in (job.get("status") or {}).get("conditions") or []:
        if each["type"] == "Complete" and each["status"] == "True":
            return "Succeeded"
        if each["type"] == "Failed" and each["status"] == "True":
            return "Failed"
    return "Succeeded" if any(_did_all(each, job) for each in pods) else "Running"


def _did_all(pod: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
    """Tell whether the last step ended well; its pod is taken down before its phase says so."""
    # Its name may have been that of an earlier Job.
    owner = pod["metadata"].get("labels", {}).get(_OWNER_LABEL)
    last = (pod.get("status") or {}).get("containerStatuses", ())
    ends = [each.get("state", {}).get("terminated") or {} for each in last]
    did_well = bool(ends) and all(each.get("exitCode") == 0 for each in ends)
    return did_well and owner == job["metadata"].get("uid")


def _containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    status = pod.get("status") or {}
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _oldest_first(pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(pods, key=lambda each: str(each["metadata"].get("creationTimestamp", "")))


def _told(pods: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Read what the steps left, of the newest pod last."""
    for pod in _oldest_first(pods):
        for each in _containers(pod):
            ended = each.get("state", {}).get("terminated") or {}
            try:
                told = orjson.loads(ended.get("message", ""))
            except orjson.JSONDecodeError:
                continue
            if isinstance(told, dict) and told.get("step") == each["name"]:
                yield told


def _why(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> str:
    pods = tuple(pods)
    if trouble := _trouble(pods):
        return trouble
    for pod in pods:
        for each in _containers(pod):
            ended = each.get("state", {}).get("terminated") or {}
            if ended.get("reason") == "OOMKilled":
                return f"{each['name']}: needs more memory than a build may use"
    conditions = (job.get("status") or {}).get("conditions") or []
    failed: Mapping[str, Any] = next((each for each in conditions if each["type"] == "Failed"), {})
    if failed.get("reason") == "DeadlineExceeded":
        return "it took longer than a build may"
    return str(failed.get("message") or "its pod ended without a word")[:500]
