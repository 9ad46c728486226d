"""Commands before a release, against a real API server; the test ends the Jobs."""

from typing import Any

import pytest

from bex_operator.api import names
from bex_operator.kube import kinds
from tests.support.apps_cluster import Bench, bench, condition, kube, make_bench, namespace

__all__ = ["bench", "kube", "namespace"]

COMMAND = ["./migrate"]


async def jobs(bench: Bench) -> list[dict[str, Any]]:
    """The Jobs there are."""
    found = await bench.kube.list(kinds.JOB, bench.namespace)
    return sorted(found.items, key=lambda each: str(each["metadata"]["name"]))


async def end(bench: Bench, name: str, *, failed: bool = False) -> None:
    """Let the Job end, as its controller writes it."""
    time = "2026-01-31T12:00:00Z"
    body: dict[str, Any] = {"startTime": time}
    ends = ("FailureTarget", "Failed") if failed else ("SuccessCriteriaMet", "Complete")
    body["conditions"] = [
        {"type": each, "status": "True", "reason": "R", "lastTransitionTime": time} for each in ends
    ]
    if not failed:
        body |= {"completionTime": time, "succeeded": 1, "ready": 0, "terminating": 0}
    written = await bench.kube.patch(
        kinds.JOB, name, bench.namespace, {"status": body}, subresource="status"
    )
    await bench.seen(bench.views.jobs, written)


async def fail_pod(bench: Bench, job: dict[str, Any]) -> None:
    """Add a pod of the Job that ended with an error."""
    end = {"exitCode": 4, "reason": "Error", "message": "no such table"}
    container = {"name": "app", "state": {"terminated": end}, "image": "i", "imageID": "i"}
    more = {"ready": False, "restartCount": 0}
    await bench.make_pod(
        f"{job['metadata']['name']}-x",
        job["spec"]["template"],
        ready=False,
        phase="Failed",
        containerStatuses=[{**container, **more}],
    )


@pytest.fixture
async def serving(bench: Bench) -> Bench:
    """An App whose first release ran its command and serves."""
    await bench.create(preDeployCommand=COMMAND)
    await bench.reconcile()
    await end(bench, "web-pre-deploy-rev-1")
    await bench.reconcile()
    await bench.play()
    await bench.reconcile()
    return bench


async def template_revision(bench: Bench) -> str:
    """The revision that the Deployment rolls out."""
    found = await bench.get(kinds.DEPLOYMENT)
    return str(found["spec"]["template"]["metadata"]["labels"][names.REVISION_LABEL])


async def test_first_release_starts_when_its_command_is_done(bench: Bench) -> None:
    """Until then there is no Deployment, and the App says why."""
    await bench.create(preDeployCommand=COMMAND)
    app = await bench.reconcile()
    assert await bench.find(kinds.DEPLOYMENT) is None
    assert condition(app, "Ready")[:2] == ("False", "PreDeploying")
    assert condition(app, "Progressing")[0] == "True"
    assert app["status"]["phase"] == "Deploying"
    await bench.assert_settled()

    await end(bench, "web-pre-deploy-rev-1")
    app = await bench.reconcile()

    assert await template_revision(bench) == "rev-1"
    assert app["status"]["preDeploy"]["state"] == "Succeeded"
    await bench.assert_settled()


async def test_next_release_waits_while_the_old_one_serves(serving: Bench) -> None:
    """Traffic moves after the command, and the command runs once."""
    await serving.change(env=[{"name": "A", "value": "2"}])
    app = await serving.reconcile()
    await serving.assert_settled()
    assert (await template_revision(serving), app["status"]["phase"]) == ("rev-1", "Running")
    assert condition(app, "Ready")[1] == "PreDeploying"
    assert condition(app, "Degraded")[0] == "False"
    assert app["status"]["preDeploy"] == {
        "number": 2,
        "job": "web-pre-deploy-rev-2",
        "state": "Running",
    }

    await end(serving, "web-pre-deploy-rev-2")
    await serving.reconcile()

    assert await template_revision(serving) == "rev-2"
    assert len(await jobs(serving)) == 2
    await serving.assert_settled()


async def test_failed_command_keeps_the_old_release(serving: Bench) -> None:
    """It is not tried again, not even without its Job, until something changes."""
    await serving.change(env=[{"name": "A", "value": "2"}])
    await serving.reconcile()
    await fail_pod(serving, (await jobs(serving))[1])
    await end(serving, "web-pre-deploy-rev-2", failed=True)

    app = await serving.reconcile()

    said = "the pre-deploy command of rev-2 ended with exit code 4. Its last lines: no such table"
    assert condition(app, "Ready") == ("False", "PreDeployFailed", said)
    assert condition(app, "Degraded")[0] == "True"
    assert (await template_revision(serving), app["status"]["phase"]) == ("rev-1", "Running")
    told = app["status"]["history"][1]
    assert told.pop("at")
    assert told == {
        "number": 2,
        "served": False,
        "reason": "PreDeployFailed",
        "message": said,
    }
    await serving.assert_settled()
    await serving.kube.delete(kinds.JOB, "web-pre-deploy-rev-2", serving.namespace)
    await serving.settle_caches()
    await serving.assert_settled()


async def test_failed_first_command_fails_the_app_until_it_changes(bench: Bench) -> None:
    """Nothing serves: that is a failure; another command is another release."""
    await bench.create(preDeployCommand=COMMAND)
    await bench.reconcile()
    await end(bench, "web-pre-deploy-rev-1", failed=True)
    app = await bench.reconcile()
    assert (app["status"]["phase"], condition(app, "Ready")[1]) == ("Failed", "PreDeployFailed")
    await bench.assert_settled()

    await bench.change(preDeployCommand=["./migrate", "better"])
    app = await bench.reconcile()

    assert condition(app, "Ready")[1] == "PreDeploying"
    assert [each["metadata"]["name"] for each in await jobs(bench)] == [
        "web-pre-deploy-rev-1",
        "web-pre-deploy-rev-2",
    ]


async def test_parked_app_runs_its_command_when_it_is_woken(serving: Bench) -> None:
    """A suspended App starts nothing, and scaling beside a command works."""
    await serving.change(env=[{"name": "A", "value": "2"}], suspended=True)
    app = await serving.reconcile()
    assert len(await jobs(serving)) == 1
    assert app["status"]["phase"] == "Hibernated"
    assert (await serving.get(kinds.DEPLOYMENT))["spec"]["replicas"] == 0

    await serving.change(suspended=False, replicas=3)
    await serving.reconcile()

    assert len(await jobs(serving)) == 2
    assert (await serving.get(kinds.DEPLOYMENT))["spec"]["replicas"] == 3
    assert await template_revision(serving) == "rev-1"


async def test_foreign_job_of_the_name_is_left_alone(bench: Bench) -> None:
    """The App says that the name is taken."""
    pod = {"containers": [{"name": "a", "image": "b"}], "restartPolicy": "Never"}
    metadata = {"name": "web-pre-deploy-rev-1", "namespace": bench.namespace}
    foreign = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}
    foreign["spec"] = {"template": {"spec": pod}}
    await bench.kube.create(foreign, field_manager="somebody")
    await bench.create(preDeployCommand=COMMAND)

    app = await bench.reconcile()

    assert condition(app, "Ready")[1] == "NameTaken"


async def test_operator_that_died_after_the_job_goes_on(serving: Bench) -> None:
    """A successor neither runs the command twice nor forgets it."""
    await serving.change(env=[{"name": "A", "value": "2"}])
    await serving.reconcile()
    await end(serving, "web-pre-deploy-rev-2")

    async with make_bench(serving.kube, serving.namespace, serving.namespace) as successor:
        await successor.reconcile()

        assert await template_revision(successor) == "rev-2"
        assert len(await jobs(successor)) == 2


async def test_jobs_go_with_the_app(serving: Bench) -> None:
    """The finalizer waits for them."""
    await serving.delete_app()

    for _ in range(4):
        await serving.controller.reconcile((serving.namespace, "web"))
        await serving.settle_caches()

    assert await serving.find(kinds.APP) is None
    left = [each for each in await jobs(serving) if "deletionTimestamp" not in each["metadata"]]
    assert left == []


async def test_command_whose_turn_comes_while_there_is_no_image_runs(serving: Bench) -> None:
    """The release is made; that nothing newer can be built holds it no longer."""
    for value in ("2", "3"):
        await serving.change(env=[{"name": "A", "value": value}])
        await serving.reconcile()
    repo = "https://git.example.com/team/web"
    await serving.change(image=None, repo=repo)
    app = await serving.reconcile()
    assert condition(app, "Ready")[1] == "NotSupportedYet"
    assert len(await jobs(serving)) == 2
    await end(serving, "web-pre-deploy-rev-2")
    await serving.reconcile()

    assert (await jobs(serving))[-1]["metadata"]["name"] == "web-pre-deploy-rev-3"
    await serving.assert_settled()
