"""What may go wrong with one App and its children, each fault by its number; the others are those
of the machine room.
"""

from typing import Any

import pytest

from bex_operator.api import names
from bex_operator.kube import client, errors, kinds
from tests.support.apps_cluster import (
    Bench,
    app_manifest,
    bench,
    condition,
    kube,
    namespace,
    until,
)

__all__ = ["bench", "kube", "namespace"]


async def serving(bench: Bench, **spec: Any) -> dict[str, Any]:
    """An App that is Ready."""
    await bench.create(**spec)
    await bench.reconcile()
    await bench.play()
    return await bench.reconcile()


async def refusal(kube: client.Client, spec: dict[str, Any], name: str = "web") -> str:
    """What the API server says against an App."""
    manifest = app_manifest("default")
    manifest["metadata"]["name"], manifest["spec"] = name, {"image": "a/b:1", **spec}
    try:
        await kube.create(manifest, field_manager="test", dry_run=True)
    except (errors.Invalid, errors.BadRequest) as refused:
        return refused.message
    return ""


async def test_fault_12_object_of_the_name_is_never_adopted(bench: Bench) -> None:
    """Not even one that carries the App's name as its label."""
    metadata = {
        "name": "web",
        "namespace": bench.namespace,
        "labels": {names.APP_LABEL: "web"},
    }
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    foreign["spec"] = {"ports": [{"port": 1}], "selector": {"a": "b"}}
    made = await bench.kube.create(foreign, field_manager="somebody")
    await bench.seen(bench.views.children["Service"], made)
    await bench.create()

    app = await bench.reconcile()

    assert condition(app, "Ready")[:2] == ("False", "NameTaken")
    assert await bench.get(kinds.SERVICE) == made


async def test_fault_24_many_edits_at_once_are_one_release(bench: Bench) -> None:
    """Only what stands there in the end counts."""
    await serving(bench)
    for number in range(1, 101):
        await bench.kube.patch(kinds.APP, "web", bench.namespace, {"spec": {"port": 1000 + number}})
    await bench.settle_caches()

    app = await bench.reconcile()

    assert app["status"]["release"]["number"] == 2
    assert (await bench.get(kinds.SERVICE))["spec"]["ports"][0]["port"] == 1100


EDITS: dict[str, dict[str, Any]] = {
    "image": {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "x"}]}}}},
    "replicas": {"spec": {"replicas": 7}},
    "labels": {"metadata": {"labels": {names.APP_LABEL: "other", names.APP_UID_LABEL: "x"}}},
    "owner": {"metadata": {"ownerReferences": [{"$patch": "replace"}]}},
}


@pytest.mark.parametrize("edit", EDITS, ids=str)
async def test_fault_25_edited_child_is_put_right(bench: Bench, edit: str) -> None:
    """In place: it is the same object, and the App's as before."""
    await serving(bench)
    before = await bench.get(kinds.DEPLOYMENT)
    written = await bench.kube.patch(
        kinds.DEPLOYMENT,
        "web",
        bench.namespace,
        EDITS[edit],
        content_type="application/strategic-merge-patch+json",
    )
    await bench.seen(bench.views.children["Deployment"], written)

    await bench.reconcile()

    after = await bench.get(kinds.DEPLOYMENT)
    assert after["spec"] == before["spec"]
    for field in ("uid", "labels", "ownerReferences"):
        assert after["metadata"][field] == before["metadata"][field]
    await bench.play_deployment()
    await bench.reconcile()
    await bench.assert_settled()


@pytest.mark.parametrize("propagation", ["Foreground", "Orphan"])
async def test_fault_26_child_deleted_slowly_is_made_anew(bench: Bench, propagation: str) -> None:
    """Until the old one is gone the App says that it waits for that."""
    await serving(bench)
    # Other tests may have started a garbage collector, which would be done at once.
    held = {"metadata": {"finalizers": ["example.com/hold"]}}
    old = await bench.kube.patch(kinds.DEPLOYMENT, "web", bench.namespace, held)
    await bench.kube.delete(kinds.DEPLOYMENT, "web", bench.namespace, propagation=propagation)
    await bench.settle_caches()
    app = await bench.reconcile()
    assert condition(app, "Ready") == (
        "False",
        "ChildLeaving",
        "waits for the old Deployment to be gone",
    )

    # The garbage collector has done its work.
    await bench.kube.patch(
        kinds.DEPLOYMENT, "web", bench.namespace, {"metadata": {"finalizers": None}}
    )
    await bench.gone(kinds.DEPLOYMENT)
    await bench.reconcile()

    new = await bench.get(kinds.DEPLOYMENT)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert new["spec"]["template"] == old["spec"]["template"]


async def test_fault_29_autoscaler_is_not_fought(bench: Bench) -> None:
    """Its number stays, reconcile after reconcile."""
    await serving(bench, tier="free", autoscaling={"maxReplicas": 5})
    written = await bench.kube.patch(
        kinds.DEPLOYMENT, "web", bench.namespace, {"spec": {"replicas": 4}}
    )
    await bench.seen(bench.views.children["Deployment"], written)
    await bench.play()
    await bench.reconcile()

    await bench.assert_settled()

    assert (await bench.get(kinds.DEPLOYMENT))["spec"]["replicas"] == 4


@pytest.mark.parametrize(
    "spec",
    [{"replicas": each} for each in (-1, 101, 2**31, "3")]
    + [{"port": each} for each in (0, 65536, "http", -1)],
    ids=str,
)
async def test_fault_31_number_out_of_bounds_is_refused(
    kube: client.Client, spec: dict[str, Any]
) -> None:
    """At the door, so that the operator never sees it."""
    assert next(iter(spec)) in await refusal(kube, spec)


@pytest.mark.parametrize(("name", "taken"), [("a" * 63, True), ("a" * 64, False), ("1a", False)])
async def test_fault_31_name_decides_what_children_can_be_called(
    kube: client.Client, name: str, taken: bool
) -> None:
    """A name that the API server takes is short enough for every child."""
    assert (await refusal(kube, {}, name) == "") is taken


async def test_fault_31_app_with_the_longest_name_gets_all_its_children(bench: Bench) -> None:
    """Those with more than the App's name in theirs, too."""
    name = "a" * 63
    await bench.create(name, preDeployCommand=["run"], replicas=2, host=f"{bench.namespace}.a.b")
    app = await bench.reconcile(name)
    assert condition(app, "Ready")[1] == "PreDeploying"

    await bench.change(name, preDeployCommand=None)
    app = await bench.reconcile(name)

    assert condition(app, "Ready")[1] == "RolloutProgressing"
    assert app["status"]["release"]["number"] == 2


async def test_fault_32_object_as_large_as_can_be(bench: Bench) -> None:
    """The children of the largest App that is taken are taken too, or the App says why not."""
    env = [{"name": f"V{number}", "value": "x" * 2600} for number in range(500)]
    await bench.create(env=env)

    app = await bench.reconcile()

    assert condition(app, "Ready")[1] in {"RolloutProgressing", "Refused"}
    assert "env" in await refusal(bench.kube, {"env": [*env, {"name": "MORE", "value": "x"}]})


@pytest.mark.parametrize(
    "image", ["", "Web", "a b", "a@sha256:12", "registry.example.com/", "https://a/b"], ids=repr
)
async def test_fault_33_image_that_is_none_is_refused(kube: client.Client, image: str) -> None:
    """Before a node tries to pull it for ever."""
    assert "image" in await refusal(kube, {"image": image})


async def test_fault_34_odd_objects_are_refused_or_read_as_meant(kube: client.Client) -> None:
    """Null is absent; a name twice is refused."""
    twice = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]

    assert await refusal(kube, {"env": None, "hosts": None}) == ""
    assert "Duplicate" in await refusal(kube, {"env": twice})


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        ('pods "web-1" is forbidden: exceeded quota: q', "RolloutBlockedByQuota", "quota"),
        ("maximum cpu usage per Container is 1", "PodsRefused", "maximum cpu"),
        ("violates PodSecurity restricted", "PodsRefused", "PodSecurity"),
    ],
)
async def test_fault_35_refused_pods_are_told_of(
    bench: Bench, message: str, reason: str, words: str
) -> None:
    """In the API server's own words, which name the limit."""
    await bench.create()
    await bench.reconcile()
    failed = {"type": "ReplicaFailure", "status": "True", "message": message, "reason": "Failed"}
    await bench.play_deployment(replicas=0, updatedReplicas=0, conditions=[failed])

    app = await bench.reconcile()

    assert condition(app, "Ready")[1] == reason
    assert words in condition(app, "Ready")[2]
    await bench.assert_settled()


async def test_fault_27_namespace_that_ends_is_no_failure(bench: Bench) -> None:
    """Nothing can be made in it any more, and nothing needs to be."""
    await bench.create()
    await bench.kube.delete(kinds.NAMESPACE, bench.namespace)

    async def ends() -> bool:
        found = await bench.kube.get(kinds.NAMESPACE, bench.namespace)
        return found["status"]["phase"] == "Terminating"

    await until(ends, "the namespace ends")
    with pytest.raises(errors.Forbidden):
        await bench.reconcile()

    app = await bench.get(kinds.APP)
    assert "conditions" not in app.get("status", {})
