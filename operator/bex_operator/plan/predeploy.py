"""The command that runs once before a release serves: its Job, and what follows from its end.

A Job is made once for a release and never again: its end is kept in the App's status, which
outlives it. Two commands of one App never run at the same time.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import app, names, status
from bex_operator.plan import causes, containers, differences, releases, workload
from bex_operator.plan import pods as pods_plan

Manifest = dict[str, Any]

COMPONENT = "pre-deploy"
LIMIT_SECONDS = 600
KEPT_SECONDS = 3600
"""How long a finished Job stays, for those who want to read its logs."""
RUNNING_REASON = "PreDeploying"
FAILED_REASON = "PreDeployFailed"


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a release that has such a command, and of the App's Jobs."""

    release: status.Release
    jobs: Sequence[Mapping[str, Any]]
    """All of the App."""
    pods: Sequence[pods_plan.Pod]
    """Of all its Jobs, finished ones too."""
    before: status.PreDeploy | None
    """What was reported last."""
    serves: bool
    """The release has come so far already that its command is history."""
    parked: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a release may serve."""

    open: bool
    report: status.PreDeploy | None = None
    cause: causes.Cause | None = None
    """Why it may not."""
    starts: bool = False
    """Its Job is to be made."""


OPEN = Gate(True)
"""Of a release without such a command."""


def gate(wanted: app.App, situation: Situation, *, now: datetime.datetime) -> Gate:
    """Decide whether the release of *wanted*, which has such a command, may serve."""
    found = _found(wanted, situation, now)
    if situation.serves or (found is not None and found.state == "Succeeded"):
        return Gate(True, found)
    if found is not None and found.state == "Failed":
        return Gate(False, found, causes.Cause(FAILED_REASON, found.message or "", broken=True))
    if found is not None:
        message = found.message or _runs(situation)
        return Gate(False, found, causes.Cause(RUNNING_REASON, message, broken=False))
    obstacle = _obstacle(situation)
    if obstacle is not None:
        return Gate(False, None, obstacle)
    cause = causes.Cause(RUNNING_REASON, _runs(situation), broken=False)
    job = job_name(wanted.name, situation.release)
    begun = status.PreDeploy(number=situation.release.number, job=job, state="Running")
    return Gate(False, begun, cause, starts=True)


def _obstacle(situation: Situation) -> causes.Cause | None:
    """Say why the Job must not be made yet."""
    if situation.parked:
        revision = releases.revision(situation.release)
        message = f"{revision} runs its pre-deploy command when the App runs again"
        return causes.Cause("Parked", message, broken=False)
    other = next((each for each in situation.jobs if _state(each) == "Running"), None)
    if other is None:
        return None
    message = f"waits for the pre-deploy command of {_revision(other)} to end"
    return causes.Cause(RUNNING_REASON, message, broken=False)


def _runs(situation: Situation) -> str:
    return f"the pre-deploy command of {releases.revision(situation.release)} runs"


def of_app(manifests: Iterable[Mapping[str, Any]], uid: str) -> list[Mapping[str, Any]]:
    """Choose the Jobs of this kind that are the App's own."""
    return [
        each
        for each in manifests
        if each["metadata"].get("labels", {}).get(names.COMPONENT_LABEL) == COMPONENT
        and differences.owned_by(each, uid)
    ]


def render(wanted: app.App, owner: workload.Owner, release: status.Release) -> Manifest:
    """Render the Job; *wanted* is the App as released, its image by digest."""
    assert wanted.pre_deploy_command is not None  # noqa: S101 - asked of those that have one
    revision = releases.revision(release)
    ours = {
        names.COMPONENT_LABEL: COMPONENT,
        names.REVISION_LABEL: revision,
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
    }
    made = workload.child("batch/v1", "Job", owner)
    made["metadata"]["name"] = job_name(owner.name, release)
    made["metadata"]["labels"] |= ours
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    made["spec"] = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": LIMIT_SECONDS,
        "ttlSecondsAfterFinished": KEPT_SECONDS,
        "podReplacementPolicy": "Failed",
        # A machine that is drained is no failure of the command.
        "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [disrupted]}]},
        "template": {
            "metadata": {"labels": ours | {names.JOB_OF_LABEL: owner.name}},
            "spec": containers.once(wanted, revision, wanted.pre_deploy_command),
        },
    }
    return made


def job_name(app_name: str, release: status.Release) -> str:
    """Name the Job of a release."""
    return names.joined(app_name, COMPONENT, releases.revision(release))


def _found(
    wanted: app.App, situation: Situation, now: datetime.datetime
) -> status.PreDeploy | None:
    """Say what became of the command; what ended stays as it was reported."""
    before, number = situation.before, situation.release.number
    known = before if before is not None and before.number == number else None
    if known is not None and known.state != "Running":
        return known
    revision = releases.revision(situation.release)
    job = next((each for each in situation.jobs if _revision(each) == revision), None)
    if job is not None:
        return _read(wanted, job, situation, now)
    if known is not None and situation.serves:
        return known.model_copy(update={"state": "Succeeded", "message": None})
    return None


def _read(
    wanted: app.App, job: Mapping[str, Any], situation: Situation, now: datetime.datetime
) -> status.PreDeploy:
    found, state = job.get("status") or {}, _state(job)
    pods = [each for each in situation.pods if each.revision == _revision(job)]
    message = None
    if state == "Failed":
        message = _failure(job, pods)
    elif state == "Running":
        cause = causes.first(wanted, None, [each for each in pods if not each.ended], now=now)
        message = f"the pre-deploy command cannot start: {cause.message}" if cause else None
    ended = [each for each in found.get("conditions") or [] if each["type"] in _ENDS]
    finished = found.get("completionTime") or (ended[0].get("lastTransitionTime") if ended else "")
    return status.PreDeploy(
        number=situation.release.number,
        job=job["metadata"]["name"],
        state=state,
        started_at=found.get("startTime"),
        finished_at=finished or None if state != "Running" else None,
        message=message[:1000] if message else None,
    )


_ENDS = {"Complete": "Succeeded", "Failed": "Failed"}


def _state(job: Mapping[str, Any]) -> Any:
    for each in (job.get("status") or {}).get("conditions") or []:
        if each["type"] in _ENDS and each["status"] == "True":
            return _ENDS[each["type"]]
    return "Running"


def _failure(job: Mapping[str, Any], pods: Sequence[pods_plan.Pod]) -> str:
    revision = _revision(job)
    failed = [each for each in job["status"]["conditions"] if each["type"] == "Failed"]
    if failed[0].get("reason") == "DeadlineExceeded":
        minutes = LIMIT_SECONDS // 60
        return f"the pre-deploy command of {revision} did not end within {minutes} minutes"
    end = next((each.last_exit for each in pods if each.last_exit is not None), None)
    if end is None:
        said = failed[0].get("message") or "no reason is known"
        return f"the pre-deploy command of {revision} failed: {said}"
    message = f"the pre-deploy command of {revision} ended with exit code {end.code}"
    if end.reason == "OOMKilled":
        message = f"the pre-deploy command of {revision} used more memory than it may"
    lines = causes.last_lines(end.message)
    return f"{message}. Its last lines: {lines}" if lines else message


def _revision(job: Mapping[str, Any]) -> str:
    return str(job["metadata"].get("labels", {}).get(names.REVISION_LABEL, ""))
