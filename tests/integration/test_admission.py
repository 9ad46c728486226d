"""The API server puts the operator's finalizer on every App; the operator mends what has none."""

from bex_operator.api import names
from bex_operator.kube import client, kinds
from tests.support.apps_cluster import Bench, app_manifest, bench, kube, namespace

__all__ = ["bench", "kube", "namespace"]


async def test_new_app_has_the_finalizer_before_anybody_saw_it(
    kube: client.Client, namespace: str
) -> None:
    """No App can vanish with its teardown undone, even while no operator runs."""
    made = await kube.create(app_manifest(namespace), field_manager="test")

    assert made["metadata"]["finalizers"] == [names.FINALIZER]


async def test_finalizers_of_others_are_kept(kube: client.Client, namespace: str) -> None:
    """Ours comes behind them."""
    app = app_manifest(namespace)
    app["metadata"]["finalizers"] = ["example.com/other"]

    made = await kube.create(app, field_manager="test")

    assert made["metadata"]["finalizers"] == ["example.com/other", names.FINALIZER]


async def test_who_applies_an_app_again_does_not_take_the_finalizer_away(
    kube: client.Client, namespace: str
) -> None:
    """It belongs to nobody who applies: `bex up` and kubectl may go on as if it were not there."""
    await kube.apply(app_manifest(namespace), field_manager="test")

    again = await kube.apply(app_manifest(namespace, replicas=2), field_manager="test")

    assert again["metadata"]["finalizers"] == [names.FINALIZER]


async def test_app_without_finalizer_gets_it_from_the_operator(bench: Bench) -> None:
    """Where the policy is not, or came later than the App, it costs one write more."""
    await bench.create()
    bare = await bench.kube.patch(
        kinds.APP, "web", bench.namespace, {"metadata": {"finalizers": None}}
    )
    await bench.seen(bench.views.apps, bare)

    app = await bench.reconcile()

    assert app["metadata"]["finalizers"] == [names.FINALIZER]
    assert bench.writes() == 5  # finalizer, release, Deployment, Service, status
