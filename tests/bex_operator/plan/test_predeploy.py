"""The command before a release: when its Job is made, and what follows from its end."""

import dataclasses
import datetime
from typing import Any

import pytest

from bex_operator import api
from bex_operator.api import status
from bex_operator.plan import pods, predeploy, workload

NOW = datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.UTC)
OWNER = workload.Owner("web", "apps", "uid-1")
RELEASE = status.Release(number=3, digest="d")
APP = api.App(name="web", image="a/b:1", pre_deploy_command=("migrate", "--all"), tier="free")
NOTHING = predeploy.Situation(RELEASE, (), (), None, serves=False, parked=False)


def job(revision: str = "rev-3", condition: dict[str, Any] | None = None) -> dict[str, Any]:
    """A Job as the API server has it."""
    made = predeploy.render(APP, OWNER, RELEASE)
    made["metadata"]["labels"]["app.bex.co/revision"] = revision
    conditions = [{"status": "True", **condition}] if condition else []
    made["status"] = {"startTime": "2026-01-31T11:59:00Z", "conditions": conditions}
    return made


def pod(**fields: Any) -> pods.Pod:
    """A pod of the Job."""
    given: dict[str, Any] = {
        "name": "web-x",
        "revision": "rev-3",
        "ready": False,
        "unschedulable": None,
        "waiting": "",
        "waiting_message": "",
        "last_exit": None,
        "restarts": 0,
        "running_since": None,
    }
    return pods.Pod(**{**given, **fields})


def gate(**fields: Any) -> predeploy.Gate:
    """Ask whether release 3 may serve."""
    return predeploy.gate(APP, dataclasses.replace(NOTHING, **fields), now=NOW)


COMPLETE = {"type": "Complete", "lastTransitionTime": "2026-01-31T12:00:00Z"}
FAILED = {
    "type": "Failed",
    "reason": "BackoffLimitExceeded",
    "message": "Job has reached the specified backoff limit",
    "lastTransitionTime": "2026-01-31T12:00:00Z",
}
ENDED = status.PreDeploy(number=3, job="j", state="Failed", message="boom")


def test_command_is_started_first() -> None:
    """The release waits, and says for what."""
    found = gate()

    assert (found.open, found.starts) == (False, True)
    assert found.report == status.PreDeploy(number=3, job="web-pre-deploy-rev-3", state="Running")
    assert found.cause is not None
    assert (found.cause.reason, found.cause.broken) == ("PreDeploying", False)
    assert found.cause.message == "the pre-deploy command of rev-3 runs"


def test_running_command_is_not_started_again() -> None:
    """The App's status tells of it."""
    found = gate(jobs=[job()])

    assert (found.open, found.starts) == (False, False)
    assert found.report == status.PreDeploy(
        number=3,
        job="web-pre-deploy-rev-3",
        state="Running",
        started_at="2026-01-31T11:59:00Z",
    )


def test_pod_that_cannot_start_is_told_of() -> None:
    """An image that is not there keeps the command from running."""
    found = gate(jobs=[job()], pods=[pod(waiting="ErrImagePull", waiting_message="not found")])

    assert found.cause is not None
    assert found.cause.message == (
        "the pre-deploy command cannot start:"
        " image 'a/b:1' is not in its registry: check its name and tag"
    )
    assert not found.cause.broken


def test_command_that_ended_well_lets_the_release_serve() -> None:
    """Once it is over, and for good: its Job may go."""
    found = gate(jobs=[job(condition=COMPLETE)])

    assert found.open
    assert found.report is not None
    assert (found.report.state, found.report.finished_at) == ("Succeeded", "2026-01-31T12:00:00Z")
    assert gate(before=found.report).open


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (pods.Exit(3, "Error", "a\nb\nc\nd\n", 2.0), "exit code 3. Its last lines: b | c | d"),
        (pods.Exit(137, "OOMKilled", "", 2.0), "used more memory than it may"),
        (None, "failed: Job has reached the specified backoff limit"),
    ],
)
def test_failed_command_says_how(end: pods.Exit | None, words: str) -> None:
    """Exit code and last lines come from the pod, as long as it is there."""
    found = gate(jobs=[job(condition=FAILED)], pods=[pod(last_exit=end, ended=True)])

    assert found.cause is not None
    assert (found.open, found.starts, found.cause.reason) == (False, False, "PreDeployFailed")
    assert found.cause.broken
    assert found.cause.message.endswith(words)
    assert "the pre-deploy command of rev-3 " in found.cause.message


def test_failure_without_a_reason_says_that() -> None:
    """Neither a pod nor the Job tells."""
    found = gate(jobs=[job(condition={"type": "Failed"})])

    assert found.cause is not None
    assert found.cause.message == "the pre-deploy command of rev-3 failed: no reason is known"


def test_command_that_may_yet_fail_has_not_ended() -> None:
    """A condition that does not hold says nothing."""
    found = gate(jobs=[job(condition={**FAILED, "status": "False"})])

    assert found.report is not None
    assert (found.report.state, found.report.finished_at) == ("Running", None)
    assert found.cause is not None
    assert found.cause.broken is False


def test_late_command_says_so() -> None:
    """The Job's controller ends it."""
    found = gate(jobs=[job(condition={**FAILED, "reason": "DeadlineExceeded"})])

    assert found.cause is not None
    assert found.cause.message == "the pre-deploy command of rev-3 did not end within 10 minutes"


def test_failure_is_final() -> None:
    """Not even a Job that somebody deleted is made again."""
    found = gate(before=ENDED)

    assert (found.open, found.starts, found.report) == (False, False, ENDED)
    assert found.cause is not None
    assert found.cause.message == "boom"


def test_failure_of_another_release_counts_for_nothing() -> None:
    """Each release gets its own try."""
    assert gate(before=ENDED.model_copy(update={"number": 2})).starts


def test_job_that_somebody_deleted_is_made_again() -> None:
    """Nobody knows how far it came."""
    running = status.PreDeploy(number=3, job="j", state="Running")

    assert gate(before=running).starts


def test_two_commands_never_run_at_once() -> None:
    """The next waits for the end of the one before."""
    found = gate(jobs=[job("rev-2")])

    assert (found.open, found.starts) == (False, False)
    assert found.cause is not None
    assert found.cause.message == "waits for the pre-deploy command of rev-2 to end"
    assert found.cause.broken is False
    assert gate(jobs=[job("rev-2", FAILED)]).starts


def test_parked_app_runs_nothing() -> None:
    """The command waits until the App runs again."""
    found = gate(parked=True)

    assert (found.open, found.starts) == (False, False)
    assert found.cause is not None
    assert (found.cause.reason, found.cause.broken) == ("Parked", False)


def test_release_that_serves_is_never_held_up() -> None:
    """What was reported of a running command is closed."""
    running = status.PreDeploy(number=3, job="j", state="Running", message="m")

    assert gate(serves=True) == predeploy.Gate(True)
    report = gate(serves=True, before=running).report
    assert report is not None
    assert (report.state, report.message) == ("Succeeded", None)


def test_job_of_a_release() -> None:
    """It has the release's image, variables and size, and gets no requests."""
    made = predeploy.render(APP, OWNER, RELEASE)

    spec, template = made["spec"], made["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert made["metadata"]["labels"]["app.bex.co/app"] == "web"
    assert "app.bex.co/app" not in template["metadata"]["labels"]
    assert template["metadata"]["labels"]["app.bex.co/job-of"] == "web"
    assert container["command"] == ["migrate", "--all"]
    assert {"name": "BEX_REVISION", "value": "rev-3"} in container["env"]
    assert container["resources"]["limits"] == {"cpu": "100m", "memory": "512Mi"}
    assert not {"ports", "lifecycle", "livenessProbe", "readinessProbe"} & container.keys()
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 600)
    assert template["spec"]["restartPolicy"] == "Never"


def test_long_names_of_jobs_never_clash() -> None:
    """A Job's name becomes a label's value: 63 characters."""
    numbers = [status.Release(number=number, digest="") for number in range(50)]
    names = {predeploy.job_name("a" * 63, release) for release in numbers}

    assert len(names) == 50
    assert all(len(name) <= 63 for name in names)


def test_jobs_of_others_are_left_alone() -> None:
    """Only those with our mark and of this App count."""
    other = job()
    other["metadata"] = {**other["metadata"], "ownerReferences": [], "labels": {}}

    assert predeploy.of_app([job(), other], "uid-1") == [job()]
    assert predeploy.of_app([job()], "uid-2") == []
