"""Builds: which one an App needs, what became of those there were, and whose turn it is. Pure.

A build is one Job. What came of it is written on the Job itself, which stays after its pod: so a
commit is built once, one that failed is not tried again, and an operator that was away knows both.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from bex_operator.api import names
from bex_operator.plan import artefacts

Manifest = dict[str, Any]
State = Literal["Running", "Succeeded", "Failed"]

COMPONENT = "build"
STEPS = ("clone", "resolve", "build", "push")
KEPT = 10
"""How many finished builds of an App are remembered."""
TURN_SECONDS = 2.0
"""How often an App whose turn has not come asks again."""

SOURCE_ANNOTATION = f"{names.GROUP}/source"
COMMIT_ANNOTATION = f"{names.GROUP}/commit"
BRANCH_ANNOTATION = f"{names.GROUP}/branch"
OUTCOME_ANNOTATION = f"{names.GROUP}/outcome"
"""What came of a build, as JSON; there once the Job has ended."""
_REF = re.compile(r"(?=.{1,255}$)[A-Za-z0-9]([A-Za-z0-9_@+-]|[./][A-Za-z0-9_@+-])*")
"""What a branch may be called in an App's spec; a tag or commit may be no more."""
BUILD_OF_LABEL = f"{names.GROUP}/build-of"
NAMESPACE_LABEL = f"{names.GROUP}/app-namespace"


@dataclass(frozen=True, slots=True)
class Request:
    """What `bex deploy` asked for; without one an App follows its branch."""

    at: str = ""
    """When, as a time; a later one asks anew."""
    ref: str | None = None
    """A branch, tag or commit to deploy instead of the branch's head."""
    clear_cache: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """What a ref of a repository is, as far as is known."""

    commit: str | None = None
    error: str | None = None
    """Why it is not known; the last known commit stays beside it."""
    absent: bool = False
    """The repository answers, and has no such ref."""


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
    fault: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """The build that an App needs."""

    uid: str
    source: artefacts.Repository
    head: Head
    request: Request = Request()


@dataclass(frozen=True, slots=True)
class Decision:
    """What the App is told, and the Job to make, if one is due."""

    outcome: artefacts.Outcome
    start: str | None = None
    """Name part of the Job to make."""


def read_request(manifest: Mapping[str, Any]) -> Request:
    """Read what a person asked for; what cannot be understood asks for nothing."""
    text = (manifest["metadata"].get("annotations") or {}).get(names.DEPLOY_ANNOTATION, "")
    try:
        given = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        given = {}
    if not isinstance(given, dict):
        return Request()
    ref = given.get("ref")
    return Request(
        at=str(given.get("at", "")),
        ref=ref if isinstance(ref, str) and _REF.fullmatch(ref) else None,
        clear_cache=given.get("clearCache") is True,
    )


def source_digest(source: artefacts.Repository) -> str:
    """Digest everything that a build is made from but the commit."""
    inputs = (source.repo, source.root_dir, source.dockerfile_path, source.docker_context)
    text = orjson.dumps((*inputs, source.builder))
    return hashlib.sha256(text).hexdigest()[:16]


def key(wish: Wish, commit: str, *, again: str = "") -> str:
    """Name a build by what it is made from; *again* tells one that is repeated from the first."""
    parts = (wish.uid, source_digest(wish.source), commit, again)
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:12]


def job_name(app_name: str, build_key: str) -> str:
    """Name the Job of a build."""
    return names.joined(app_name, build_key, limit=names.LABEL_LIMIT)


def read(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]] = ()) -> Build:
    """Say what became of a build, from its Job and the Job's pods."""
    metadata = job["metadata"]
    noted = metadata.get("annotations") or {}
    told = orjson.loads(noted.get(OUTCOME_ANNOTATION, "{}"))
    state = _state(job)
    return Build(
        job=metadata["name"],
        source=noted.get(SOURCE_ANNOTATION, ""),
        commit=noted.get(COMMIT_ANNOTATION, ""),
        branch=noted.get(BRANCH_ANNOTATION, ""),
        state=told.get("state", "Running") if told or state == "Running" else "Running",
        created=metadata.get("creationTimestamp", ""),
        step="" if told else current_step(pods),
        image=told.get("image", ""),
        fault=told.get("fault", ""),
        message=told.get("message", ""),
    )


def decide(wish: Wish, known: Sequence[Build], *, app_name: str, has_turn: bool = True) -> Decision:
    """Choose what the App runs, and whether a build has to begin for it."""
    commit = wish.head.commit
    if commit is None:
        return Decision(_without_commit(wish, known))
    found = _find(wish, commit, known, app_name)
    if found is None:
        return _begin(wish, commit, known, app_name, has_turn=has_turn)
    shown = f"commit {commit[:7]} of {found.branch or wish.source.branch}"
    if found.state == "Succeeded":
        return Decision(artefacts.Ready(found.image, shown))
    if found.state == "Failed":
        return Decision(_failed(found, shown))
    step = f": {found.step}" if found.step else ", not placed on a machine yet"
    return Decision(artefacts.Waiting("Building", f"builds {shown}{step}"))


def _begin(
    wish: Wish, commit: str, known: Sequence[Build], app_name: str, *, has_turn: bool
) -> Decision:
    shown = f"commit {commit[:7]} of {wish.request.ref or wish.source.branch}"
    running = next((each for each in known if each.state == "Running"), None)
    if running is not None:
        # Run to the end: a newer push that stopped it could be stopped by the next, for ever.
        message = f"{shown} is built when the build of {running.commit[:7]} has ended"
        return Decision(artefacts.Waiting("BuildQueued", message))
    if not has_turn:
        message = f"{shown} is built when other builds have ended"
        return Decision(artefacts.Waiting("BuildQueued", message, TURN_SECONDS))
    message = f"builds {shown}, not placed on a machine yet"
    again = _again(wish, commit, known, app_name)
    name = job_name(app_name, key(wish, commit, again=again))
    return Decision(artefacts.Waiting("Building", message), start=name)


def _find(wish: Wish, commit: str, known: Sequence[Build], app_name: str) -> Build | None:
    """Find the build of *commit* that counts: the one a person asked for after it failed."""
    by_name = {each.job: each for each in known}
    again = _again(wish, commit, known, app_name)
    return by_name.get(job_name(app_name, key(wish, commit, again=again)))


def _again(wish: Wish, commit: str, known: Sequence[Build], app_name: str) -> str:
    """Tell a repeated build from the first: asked for without a cache, or after a failure."""
    request = wish.request
    if request.clear_cache:
        return request.at
    first = job_name(app_name, key(wish, commit))
    failed = next((each for each in known if each.job == first and each.state == "Failed"), None)
    return request.at if failed is not None and request.at > failed.created else ""


def _without_commit(wish: Wish, known: Sequence[Build]) -> artefacts.Outcome:
    """Stay with what was built while the repository does not answer."""
    ref = wish.request.ref or wish.source.branch
    if wish.head.absent:
        return artefacts.Failed("SourceNotFound", f"spec.branch: the repository has no {ref!r}")
    digest = source_digest(wish.source)
    built = [each for each in known if each.state == "Succeeded" and each.source == digest]
    if built:
        last = max(built, key=lambda each: each.created)
        return artefacts.Ready(last.image, f"commit {last.commit[:7]} of {last.branch}")
    if wish.head.error is not None:
        return artefacts.Waiting("SourceUnavailable", f"spec.repo: {wish.head.error}")
    return artefacts.Waiting("Building", f"asks the repository for {ref}")


def _failed(found: Build, shown: str) -> artefacts.Failed:
    if found.fault == "repository":
        return artefacts.Failed("BuildFailedUserError", f"{shown}: {found.message}"[:1500])
    said = found.message or "no reason is known"
    text = f"{shown}: the platform could not build it: {said}; try again with bex deploy"
    return artefacts.Failed("BuildFailedInfrastructure", text[:1500])


def has_ended_unnoted(job: Mapping[str, Any]) -> bool:
    """Tell whether what came of a Job has yet to be written on it."""
    noted = job["metadata"].get("annotations") or {}
    return not is_running(job) and OUTCOME_ANNOTATION not in noted


def outcome_of(
    job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], image: str
) -> dict[str, Any]:
    """Sum up a Job that has ended, from what its steps left."""
    state = _state(job)
    told = {each["step"]: each for each in _told(pods)}
    made: dict[str, Any] = {"state": state}
    made["seconds"] = {step: told[step]["seconds"] for step in STEPS if step in told}
    for field in ("author", "subject"):
        made[field] = told.get("clone", {}).get(field, "")
    made["strategy"] = told.get("resolve", {}).get("strategy", "")
    digest = told.get("push", {}).get("digest")
    if state == "Succeeded" and digest:
        return made | {"image": f"{image}@{digest}"}
    failed = next((each for each in told.values() if each.get("fault")), None)
    if failed is not None:
        message = f"{failed['step']}: {failed.get('message', '')}"
        return made | {"state": "Failed", "fault": failed["fault"], "message": message}
    return made | {"state": "Failed", "fault": "platform", "message": _why(job, pods)}


def superfluous(known: Sequence[Build]) -> list[Build]:
    """Return the builds to forget: all that have ended but the last ones."""
    ended = sorted(
        (each for each in known if each.state != "Running"), key=lambda each: each.created
    )
    return ended[:-KEPT] if len(ended) > KEPT else []


def encode(outcome: Mapping[str, Any]) -> str:
    """Write an outcome as the annotation has it."""
    return orjson.dumps(outcome).decode()


def is_running(job: Mapping[str, Any]) -> bool:
    """Tell whether a Job has not ended."""
    return _state(job) == "Running"


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


def may_start(
    running: Mapping[str, int], waiting: Iterable[str], tenant: str, *, limit: int, each: int
) -> bool:
    """Tell whether a build of *tenant* may begin: there is room, and nobody with less waits.

    *running* counts the builds by tenant, *waiting* names the tenants that want one.
    """
    if sum(running.values()) >= limit or running.get(tenant, 0) >= each:
        return False
    mine = running.get(tenant, 0)
    return all(running.get(other, 0) >= mine for other in waiting)


def _state(job: Mapping[str, Any]) -> State:
    for each in (job.get("status") or {}).get("conditions") or []:
        if each["type"] == "Complete" and each["status"] == "True":
            return "Succeeded"
        if each["type"] == "Failed" and each["status"] == "True":
            return "Failed"
    return "Running"


def _containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    status = pod.get("status") or {}
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _told(pods: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Read what the steps left, of the newest pod last."""
    for pod in sorted(pods, key=lambda each: str(each["metadata"].get("creationTimestamp", ""))):
        for each in _containers(pod):
            ended = each.get("state", {}).get("terminated") or {}
            try:
                told = orjson.loads(ended.get("message", ""))
            except orjson.JSONDecodeError:
                continue
            if isinstance(told, dict) and told.get("step") == each["name"]:
                yield told


def _why(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> str:
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
