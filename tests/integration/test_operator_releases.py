"""Releases against a real API server and a real registry: pinned, kept, restored, given up."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bex_operator.api import names
from bex_operator.controllers import children
from bex_operator.kube import client, kinds
from bex_operator.registry import errors as registry_errors
from bex_operator.registry import resolver
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import (
    NO_REGISTRY,
    Bench,
    condition,
    kube,
    make_bench,
    namespace,
)
from tests.support.fault_proxy import fault_proxy
from tests.support.image_registry import Registry, registry

__all__ = ["kube", "namespace", "registry"]


@pytest.fixture
async def bench(kube: client.Client, namespace: str, registry: Registry) -> AsyncIterator[Bench]:
    """An operator that looks images up at the registry; App `web` runs on version 1."""
    await registry.push("web", "1", "one")
    await registry.push("web", "2", "two")
    async with make_bench(kube, namespace, namespace, registry=registry.url) as made:
        await made.create(env=[{"name": "A", "value": "1"}])
        await run(made)
        yield made


async def run(bench: Bench) -> dict[str, Any]:
    """Reconcile, let the pods become ready, and reconcile."""
    await bench.reconcile()
    await bench.play()
    return await bench.reconcile()


async def template(bench: Bench) -> dict[str, Any]:
    """The Deployment's pod template."""
    found = await bench.get(kinds.DEPLOYMENT)
    return dict(found["spec"]["template"])


async def container(bench: Bench) -> dict[str, Any]:
    """The one container of the template."""
    return dict((await template(bench))["spec"]["containers"][0])


async def revisions(bench: Bench) -> list[tuple[int, str]]:
    """The records there are: number and why."""
    found = await bench.kube.list(kinds.CONTROLLER_REVISION, bench.namespace)
    return sorted((each["revision"], each["data"]["why"]) for each in found.items)


async def order(bench: Bench, revision: str | None) -> None:
    """Ask for a rollback, or take the order back."""
    body = {"metadata": {"annotations": {names.ROLLBACK_ANNOTATION: revision}}}
    written = await bench.kube.patch(kinds.APP, "web", bench.namespace, body)
    await bench.seen(bench.views.apps, written)


async def test_tag_is_pinned_when_the_release_is_made(bench: Bench, registry: Registry) -> None:
    """A tag that moves moves no running App, however often it is reconciled."""
    pinned = (await container(bench))["image"]
    await registry.push("web", "1", "moved")

    await bench.change(replicas=2)
    app = await run(bench)

    found = await container(bench)
    assert pinned.startswith("example.com/web@sha256:")
    assert (found["image"], found["imagePullPolicy"]) == (pinned, "IfNotPresent")
    assert app["status"]["image"] == pinned
    await bench.assert_settled()


async def test_restart_is_a_release_that_looks_the_tag_up_again(
    bench: Bench, registry: Registry
) -> None:
    """Whoever restarts wants what the tag means now."""
    digest = await registry.push("web", "1", "moved")

    await bench.change(restartedAt="2026-01-31T12:00:00Z")
    await run(bench)

    assert (await container(bench))["image"] == f"example.com/web@{digest}"
    assert await revisions(bench) == [(1, "first release"), (2, "restart")]


async def test_rollback_restores_image_and_environment_as_a_new_release(
    bench: Bench, registry: Registry
) -> None:
    """The image is that of then though its tag has moved; the spec stays as it was written."""
    first = await container(bench)
    await bench.change(image="example.com/web:2", env=[{"name": "A", "value": "2"}])
    await run(bench)
    await registry.push("web", "1", "moved")

    await order(bench, "rev-1")
    app = await run(bench)

    found = await container(bench)
    assert (found["image"], found["env"][0]) == (first["image"], {"name": "A", "value": "1"})
    assert app["status"]["activeRevision"] == "rev-3"
    assert app["spec"]["image"] == "example.com/web:2"
    assert (await revisions(bench))[-1] == (3, "rollback to rev-1")
    await bench.assert_settled()


async def test_rollback_whose_record_is_not_seen_yet_is_not_made_twice(bench: Bench) -> None:
    """The caches of a leader that is behind tell of the pods of a release before its record."""
    await bench.change(image="example.com/web:2")
    await run(bench)
    await order(bench, "rev-1")
    await run(bench)
    before = await revisions(bench)
    bench.views.records.drop(bench.namespace, "web-rev-3")
    await bench.change(suspended=True)

    app = await bench.reconcile()

    assert await revisions(bench) == before
    assert app["status"]["release"]["number"] == 3


async def test_rollback_ends_when_the_spec_changes(bench: Bench) -> None:
    """Scaling keeps it; another image ends it and takes the annotation away."""
    await bench.change(image="example.com/web:2")
    await run(bench)
    await order(bench, "rev-1")
    await run(bench)
    restored = await template(bench)
    await bench.change(replicas=2)
    await run(bench)
    assert await template(bench) == restored

    await bench.change(env=[{"name": "A", "value": "3"}])
    app = await run(bench)

    assert app["status"]["activeRevision"] == "rev-4"
    assert names.ROLLBACK_ANNOTATION not in app["metadata"].get("annotations", {})
    assert (await container(bench))["env"][0]["value"] == "3"
    await bench.assert_settled()


async def test_rollback_to_a_release_that_is_not_kept_changes_nothing(bench: Bench) -> None:
    """The App says what is kept and goes on as it is."""
    before = await template(bench)

    await order(bench, "rev-7")
    app = await bench.reconcile()

    assert condition(app, "Ready")[:2] == ("False", "RollbackImpossible")
    assert "kept: rev-1" in condition(app, "Ready")[2]
    assert app["status"]["phase"] == "Running"
    assert await template(bench) == before


async def test_silent_registry_blocks_nothing(kube: client.Client, namespace: str) -> None:
    """The tag is used as it is, pulled each time, and Released says so."""
    async with make_bench(kube, namespace, namespace) as silent:
        await silent.create()
        app = await run(silent)

        found = await container(silent)
        assert (found["image"], found["imagePullPolicy"]) == ("example.com/web:1", "Always")
        assert condition(app, "Released")[0] == "True"
        assert "could not be resolved" in condition(app, "Released")[2]
        await silent.assert_settled()


async def test_absent_image_is_named_and_what_serves_goes_on(
    bench: Bench, registry: Registry
) -> None:
    """No release is opened for an image that is not there; once it is pushed it is taken."""
    before = await template(bench)
    await bench.change(image="example.com/web:9", replicas=2)

    app = await run(bench)

    status, reason, message = condition(app, "Ready")
    assert (status, reason) == ("False", "ImageNotFound")
    assert "'example.com/web:9' is not in its registry" in message
    assert app["status"]["phase"] == "Running"
    assert await template(bench) == before
    assert await bench.controller.reconcile((bench.namespace, "web")) == 30.0
    assert len(await revisions(bench)) == 1


async def test_image_built_for_another_app_is_refused_and_what_serves_goes_on(bench: Bench) -> None:
    """The machines could pull it; who wrote the App may not have it."""
    before = await template(bench)
    await bench.change(image=f"localhost:5050/builds/{uuid.uuid4()}/image:web-1")

    app = await run(bench)

    assert condition(app, "Ready")[1] == "ForeignImage"
    assert app["status"]["phase"] == "Running"
    assert await template(bench) == before


async def test_new_app_with_an_absent_image_makes_nothing(bench: Bench) -> None:
    """The first cause is the image, and it is asked for again."""
    await bench.create("other", image="example.com/web:9")

    again = await bench.controller.reconcile((bench.namespace, "other"))

    app = await bench.get(kinds.APP, "other")
    assert again == 30.0
    assert app["status"]["phase"] == "Failed"
    assert condition(app, "Ready")[1] == "ImageNotFound"
    assert await bench.find(kinds.DEPLOYMENT, "other") is None


async def fail(bench: Bench) -> dict[str, Any]:
    """Let the newest release miss its deadline, and reconcile."""
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    await bench.play_deployment(conditions=[condition], updatedReplicas=0)
    return await bench.reconcile()


async def test_failing_release_leaves_the_serving_one_alone(bench: Bench) -> None:
    """After the deadline only what serves runs; the reason stays, and nothing is tried again."""
    before = await template(bench)
    await bench.change(image="example.com/web:2")
    await bench.reconcile()
    assert await template(bench) != before

    await fail(bench)
    app = await bench.reconcile()

    assert await template(bench) == before
    assert app["status"]["phase"] == "Running"
    assert condition(app, "Ready")[:2] == ("False", "ProgressDeadlineExceeded")
    assert "rev-2 did not become ready within 15 minutes" in condition(app, "Released")[2]
    await bench.play_deployment(conditions=[])
    await bench.reconcile()
    await bench.assert_settled()


async def test_change_after_a_failure_is_a_new_try(bench: Bench) -> None:
    """The number of what failed is not used again."""
    await bench.change(image="example.com/web:2")
    await bench.reconcile()
    await fail(bench)
    await bench.reconcile()

    await bench.change(restartedAt="2026-01-31T12:00:00Z")
    app = await run(bench)

    assert app["status"]["activeRevision"] == "rev-3"
    assert condition(app, "Ready")[0] == "True"
    ends = [(each["number"], each["served"]) for each in app["status"]["history"]]
    assert ends == [(1, True), (2, False), (3, True)]


async def test_app_from_before_records_is_not_restarted(bench: Bench) -> None:
    """The first reconcile of a newer operator writes the record and leaves the pods alone."""
    await bench.kube.delete(kinds.CONTROLLER_REVISION, "web-rev-1", bench.namespace)
    before = await template(bench)
    async with make_bench(bench.kube, bench.namespace, bench.namespace) as second:
        await second.reconcile()

        assert await template(second) == before
        assert await revisions(second) == [(1, "found running")]
        await second.assert_settled()


async def test_app_with_a_tag_from_before_is_not_restarted(
    kube: client.Client, namespace: str, registry: Registry
) -> None:
    """An image that runs by its tag goes on so until its next release."""
    await registry.push("web", "1", "one")
    async with make_bench(kube, namespace, namespace) as old:
        await old.create()
        await run(old)
        before = await template(old)
    await kube.delete(kinds.CONTROLLER_REVISION, "web-rev-1", namespace)
    async with make_bench(kube, namespace, namespace, registry=registry.url) as new:
        await new.reconcile()

        assert await template(new) == before
        await new.assert_settled()


async def test_ten_records_are_kept_and_numbers_go_on(bench: Bench) -> None:
    """Old records go; without any record the count goes on too."""
    for number in range(2, 14):
        await bench.change(env=[{"name": "A", "value": str(number)}])
        await bench.reconcile()
        await bench.settle_caches()

    kept = [number for number, _ in await revisions(bench)]
    assert kept == [1, *range(4, 14)]  # rev-1 serves
    for number in kept:
        await bench.kube.delete(kinds.CONTROLLER_REVISION, f"web-rev-{number}", bench.namespace)
    await bench.settle_caches()
    await bench.change(env=[{"name": "A", "value": "new"}])
    app = await bench.reconcile()
    assert app["status"]["release"]["number"] == 14


async def test_resolver_tells_absent_from_silent(registry: Registry) -> None:
    """Where one of several registries is silent, absence is not known."""
    digest = await registry.push("team/web", "1", "one")
    endpoints = {
        "a.example": (registry.url,),
        "b.example": (NO_REGISTRY, registry.url),
        "localhost:5050": (registry.url,),
    }
    async with resolver.Resolver(endpoints) as images:
        assert await images.resolve("a.example/team/web:1") == digest
        assert await images.resolve("b.example/team/web:1") == digest
        assert await images.resolve("localhost:5050/team/web:1") == digest
        with pytest.raises(registry_errors.NotFound):
            await images.resolve("a.example/team/none:1")
        for image in ("b.example/team/none:1", "127.0.0.1:1/a:1", "10.1.2.3/a:1"):
            with pytest.raises(registry_errors.Unavailable):
                await images.resolve(image)


async def test_record_says_who_asked(bench: Bench) -> None:
    """The program that wrote the App, or the person whom it names.

    Writers of one second are told apart by nothing but their names' order.
    """
    annotated = {names.ROLLBACK_ANNOTATION: "rev-1", names.CHANGED_BY_ANNOTATION: "ada"}
    orders: list[tuple[dict[str, Any], str]] = [
        ({"spec": {"port": 4000}}, "wrote"),
        ({"metadata": {"annotations": annotated}}, "wrote-later"),
    ]
    for body, manager in orders:
        written = await bench.kube.patch(
            kinds.APP, "web", bench.namespace, body, field_manager=manager
        )
        await bench.seen(bench.views.apps, written)
        await run(bench)

    found = await bench.kube.list(kinds.CONTROLLER_REVISION, bench.namespace)
    who = {each["revision"]: each["data"]["who"] for each in found.items}
    assert who == {1: "test", 2: "wrote", 3: "ada"}


async def test_leader_with_the_spec_of_before_does_not_bring_it_back(
    bench: Bench, api_server: ApiServer, namespace: str, registry: Registry
) -> None:
    """It hears of no App any more, and sees a release that another leader made of the new spec."""
    async with (
        fault_proxy(api_server.kubeconfig) as (proxy, access),
        client.Client(access) as behind,
        make_bench(behind, namespace, namespace, registry=registry.url) as stale,
    ):
        proxy.edit = lambda line: None if b'"object":{"apiVersion":"app.bex.co' in line else line
        await bench.change(env=[{"name": "A", "value": "2"}])
        await run(bench)
        for kind in (kinds.DEPLOYMENT, kinds.CONTROLLER_REVISION):
            name = "web" if kind is kinds.DEPLOYMENT else "web-rev-2"
            await stale.seen(stale.views.by_kind[kind.kind], await bench.get(kind, name))
        before = await template(bench)

        with pytest.raises(children.Moved):
            await stale.reconcile()

        assert await template(bench) == before
        assert [number for number, _ in await revisions(bench)] == [1, 2]
