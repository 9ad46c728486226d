"""State in, one reconcile, state out, against a real API server; again, and nothing changes."""

import pytest

from bex_operator.api import names
from bex_operator.kube import errors, kinds
from tests.support.apps_cluster import (
    Bench,
    bench,
    condition,
    kube,
    make_bench,
    namespace,
    running,
)

__all__ = ["bench", "kube", "namespace", "running"]

CHILDREN = (kinds.DEPLOYMENT, kinds.SERVICE, kinds.INGRESS, kinds.POD_DISRUPTION_BUDGET)


async def test_new_app_gets_its_children_and_a_first_status(bench: Bench) -> None:
    """Deployment, Service, Ingress and budget are made, and the status says what is going on."""
    await bench.create(replicas=2, host="web.example.com", port=8080)

    app = await bench.reconcile()

    assert app["status"]["phase"] == "Deploying"
    assert app["status"]["url"] == "http://web.example.com:8080"
    assert condition(app, "Ready")[:2] == ("False", "RolloutProgressing")
    assert app["metadata"]["finalizers"] == [names.FINALIZER]
    for kind in CHILDREN:
        child = await bench.get(kind)
        assert child["metadata"]["ownerReferences"][0]["uid"] == app["metadata"]["uid"]
    assert bench.writes() == 6  # release, four children, status
    await bench.assert_settled()


async def test_app_without_finalizer_gets_it(bench: Bench) -> None:
    """Who makes an App by other means need not know of it; it costs one write more."""
    await bench.create()
    bare = {"metadata": {"finalizers": None}}
    changed = await bench.kube.patch(kinds.APP, "web", bench.namespace, bare)
    await bench.seen(bench.views.apps, changed)

    app = await bench.reconcile()

    assert app["metadata"]["finalizers"] == [names.FINALIZER]
    assert bench.writes() == 5  # finalizer, release, Deployment, Service, status


async def test_app_with_ready_pods_runs(running: Bench) -> None:
    """Once every replica of the revision is ready the App is Running at its URL."""
    app = await running.get(kinds.APP)

    assert app["status"]["activeRevision"] == "rev-1"
    assert app["status"]["image"] == "example.com/web:1"
    assert app["status"]["readyReplicas"] == 2
    assert condition(app, "Ready") == ("True", "Deployed", "2/2 replicas ready")
    assert condition(app, "Progressing")[0] == "False"
    await running.assert_settled()


async def test_new_image_is_a_new_revision_and_the_old_one_serves_on(running: Bench) -> None:
    """Until the new pods are ready the old revision stays the active one."""
    await running.change(image="example.com/web:2")

    app = await running.reconcile()

    assert app["status"]["phase"] == "Deploying"
    assert app["status"]["activeRevision"] == "rev-1"
    assert app["status"]["image"] == "example.com/web:1"
    await running.play()
    app = await running.reconcile()
    assert app["status"]["phase"] == "Running"
    assert app["status"]["activeRevision"] == "rev-2"
    await running.assert_settled()


@pytest.mark.parametrize(
    "change",
    [{"replicas": 3}, {"hosts": ["more.example.com"]}, {"suspended": True}, {"replicas": 0}],
    ids=["scale", "route", "suspend", "zero"],
)
async def test_operational_change_makes_no_revision(
    running: Bench, change: dict[str, object]
) -> None:
    """Scaling, routing and suspending leave the pod template as it is: nothing restarts."""
    before = await running.get(kinds.DEPLOYMENT)
    await running.change(**change)

    app = await running.reconcile()

    after = await running.get(kinds.DEPLOYMENT)
    assert after["spec"]["template"] == before["spec"]["template"]
    assert app["status"]["release"]["number"] == 1
    await running.assert_settled()


async def test_revision_numbers_are_never_used_twice(running: Bench) -> None:
    """Going back to an earlier configuration is a new revision too."""
    for number, image in ((2, "example.com/web:2"), (3, "example.com/web:1")):
        await running.change(image=image)

        app = await running.reconcile()

        assert app["status"]["release"]["number"] == number


async def test_suspended_app_keeps_everything_but_its_pods(running: Bench) -> None:
    """Parking scales to nothing and keeps Service, Ingress and count; resuming brings it back."""
    await running.change(suspended=True)

    app = await running.reconcile()

    assert app["status"]["phase"] == "Hibernated"
    assert condition(app, "Ready")[:2] == ("False", "Suspended")
    assert (await running.get(kinds.DEPLOYMENT))["spec"]["replicas"] == 0
    assert await running.find(kinds.INGRESS) is not None
    assert await running.find(kinds.POD_DISRUPTION_BUDGET) is None
    await running.play()
    await running.change(suspended=False)
    await running.reconcile()
    await running.play()
    app = await running.reconcile()
    assert app["status"]["phase"] == "Running"
    assert app["status"]["activeRevision"] == "rev-1"
    await running.assert_settled()


@pytest.mark.parametrize("kind", CHILDREN, ids=[kind.kind for kind in CHILDREN])
async def test_deleted_child_comes_back(running: Bench, kind: kinds.Kind) -> None:
    """Whoever deletes a child of a living App gets it back."""
    await running.kube.delete(kind, "web", running.namespace)
    await running.gone(kind)

    await running.reconcile()

    assert await running.find(kind) is not None
    await running.play_deployment()
    await running.reconcile()
    await running.assert_settled()


EDITS = (
    (kinds.DEPLOYMENT, {"spec": {"replicas": 7}}),
    (kinds.DEPLOYMENT, {"spec": {"template": {"spec": {"enableServiceLinks": True}}}}),
    (kinds.SERVICE, {"spec": {"selector": {"app.bex.co/app": "other"}}}),
    (kinds.SERVICE, {"metadata": {"labels": {"app.bex.co/app": "other"}}}),
    (kinds.INGRESS, {"spec": {"ingressClassName": "foreign"}}),
    (kinds.INGRESS, {"metadata": {"ownerReferences": None}}),
    (kinds.POD_DISRUPTION_BUDGET, {"spec": {"maxUnavailable": 2}}),
)


@pytest.mark.parametrize(
    ("kind", "edit"),
    EDITS,
    ids=[f"{kind.kind}-{next(iter(edit))}-{n}" for n, (kind, edit) in enumerate(EDITS)],
)
async def test_edited_child_is_put_right(
    running: Bench, kind: kinds.Kind, edit: dict[str, object]
) -> None:
    """What somebody changed by hand goes back to what the App says."""
    before = await running.get(kind)
    await running.seen(
        running.views.children[kind.kind],
        await running.kube.patch(kind, "web", running.namespace, edit, field_manager="hand"),
    )

    await running.reconcile()

    after = await running.get(kind)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
    await running.play_deployment()
    await running.reconcile()
    await running.assert_settled()


async def test_what_others_add_to_a_child_stays(running: Bench) -> None:
    """Labels, annotations and fields that are not ours are nobody's fault: no write, no fight."""
    edit = {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}}
    written = await running.kube.patch(
        kinds.SERVICE, "web", running.namespace, edit, field_manager="hand"
    )
    await running.seen(running.views.children["Service"], written)

    await running.assert_settled()

    after = await running.get(kinds.SERVICE)
    assert after["metadata"]["labels"]["team"] == "a"


async def test_removed_field_goes_from_the_child(running: Bench) -> None:
    """What the App no longer says is taken back, not left behind."""
    await running.change(env=[{"name": "A", "value": "1"}, {"name": "B", "value": ""}])
    await running.reconcile()
    await running.change(env=[{"name": "B", "value": ""}])
    await running.reconcile()

    deployment = await running.get(kinds.DEPLOYMENT)

    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert [each["name"] for each in container["env"]] == ["B", "PORT", "BEX_REVISION"]
    await running.play()
    await running.reconcile()
    await running.assert_settled()


async def test_reordered_environment_is_applied_once(running: Bench) -> None:
    """Variables may refer to earlier ones, so their order counts, and it settles."""
    pairs = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}]
    for env in (pairs, pairs[::-1]):
        await running.change(env=env)
        await running.reconcile()

    deployment = await running.get(kinds.DEPLOYMENT)

    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert [each["name"] for each in container["env"]][:2] == ["B", "A"]
    await running.play()
    await running.reconcile()
    await running.assert_settled()


@pytest.mark.parametrize(
    "spec",
    [
        {"tier": "pro"},
        {"resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}}},
        {"resources": {"requests": {"cpu": "1.250", "memory": "1000k"}}},
        {"command": ["/a"], "args": ["b", ""], "envFromSecret": "s"},
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        {"healthCheckPath": "/up", "maxShutdownDelaySeconds": 5, "port": 80},
        {"image": "example.com/web@sha256:" + "a" * 64, "restartedAt": "2026-01-31T12:00:00Z"},
    ],
    ids=["tier", "limits", "requests", "command", "secret", "probe", "digest"],
)
async def test_every_field_settles(bench: Bench, spec: dict[str, object]) -> None:
    """What is sent is what the API server stores: a second reconcile writes nothing."""
    await bench.create()
    await bench.change(**spec)

    await bench.reconcile()

    await bench.assert_settled()


async def test_port_change_keeps_the_old_pods_reachable(running: Bench) -> None:
    """The Service finds ports by name, so pods of both revisions answer during the rollout."""
    await running.change(port=9090)
    await running.reconcile()

    service = await running.get(kinds.SERVICE)

    assert service["spec"]["ports"] == [
        {"name": "http", "port": 9090, "targetPort": "http", "protocol": "TCP"}
    ]


async def test_app_from_git_says_that_builds_are_not_supported_yet(bench: Bench) -> None:
    """The field is named, and nothing is made."""
    manifest = {"repo": "https://example.com/a/b", "image": None}
    await bench.create(**manifest)

    app = await bench.reconcile()

    assert app["status"]["phase"] == "Failed"
    assert condition(app, "Ready")[1] == "NotSupportedYet"
    assert "spec.repo" in condition(app, "Ready")[2]
    assert await bench.find(kinds.DEPLOYMENT) is None
    await bench.assert_settled()


async def test_app_that_turns_to_git_goes_on_serving(running: Bench) -> None:
    """A spec that cannot be acted on takes nothing away from what serves."""
    await running.change(image=None, repo="https://example.com/a/b")

    app = await running.reconcile()

    assert app["status"]["phase"] == "Running"
    assert app["status"]["activeRevision"] == "rev-1"
    assert condition(app, "Ready")[:2] == ("False", "NotSupportedYet")
    assert await running.find(kinds.DEPLOYMENT) is not None
    await running.assert_settled()


@pytest.mark.parametrize("kind", CHILDREN[:3], ids=[kind.kind for kind in CHILDREN[:3]])
async def test_foreign_object_of_the_name_is_never_touched(bench: Bench, kind: kinds.Kind) -> None:
    """An object somebody else made keeps every byte; the App says whose name is taken."""
    selector = {"app": "foreign"}
    pod = {"containers": [{"name": "c", "image": "x"}]}
    rule = {"defaultBackend": {"service": {"name": "other", "port": {"number": 1}}}}
    specs = {
        "Deployment": {
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector}, "spec": pod},
        },
        "Service": {"ports": [{"port": 3000}]},
        "Ingress": rule,
    }
    foreign = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "web", "namespace": bench.namespace},
        "spec": specs[kind.kind],
    }
    before = await bench.kube.create(foreign, field_manager="foreign")
    await bench.seen(bench.views.children[kind.kind], before)
    await bench.create(host=f"foreign.{bench.namespace}.example.com")

    app = await bench.reconcile()

    assert await bench.get(kind) == before
    assert condition(app, "Ready")[1] == "NameTaken"
    assert kind.kind in condition(app, "Ready")[2]
    await bench.kube.delete(kinds.APP, "web", bench.namespace)


async def test_restarted_operator_writes_nothing(running: Bench) -> None:
    """A new process finds everything as it should be."""
    async with make_bench(running.kube, running.namespace, running.namespace) as second:
        await second.assert_settled()

        assert second.writes() == 0


async def test_crash_between_children_and_status_keeps_the_number(running: Bench) -> None:
    """The Deployment remembers a revision that the status never heard of."""
    await running.change(image="example.com/web:2")
    await running.reconcile()
    await running.kube.patch(
        kinds.APP, "web", running.namespace, {"status": None}, subresource="status"
    )
    async with make_bench(running.kube, running.namespace, running.namespace) as second:
        app = await second.reconcile()

        assert app["status"]["release"]["number"] == 2


async def test_lost_deployment_keeps_the_number(running: Bench) -> None:
    """The status remembers a revision whose Deployment somebody deleted."""
    await running.kube.delete(kinds.DEPLOYMENT, "web", running.namespace)
    await running.gone(kinds.DEPLOYMENT)

    app = await running.reconcile()

    assert app["status"]["release"]["number"] == 1


async def test_forbidden_child_is_told_and_tried_again(bench: Bench) -> None:
    """A quota shows in Ready; the reconcile fails, so that it comes back."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": bench.namespace},
        "spec": {"hard": {"services": "0"}},
    }
    await bench.kube.create(quota, field_manager="test")
    await bench.kube.patch(
        kinds.RESOURCE_QUOTA,
        "none",
        bench.namespace,
        {"status": {"hard": {"services": "0"}, "used": {"services": "0"}}},
        subresource="status",
    )
    await bench.create()

    with pytest.raises(errors.Forbidden):
        await bench.reconcile()

    ready = condition(await bench.get(kinds.APP), "Ready")
    assert ready[1] == "Forbidden"
    assert "exceeded quota" in ready[2]
