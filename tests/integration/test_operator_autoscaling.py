"""Who decides on replicas, against a real API server; the autoscaler is played."""

from typing import Any

import pytest

from bex_operator.kube import kinds
from tests.support.apps_cluster import Bench, bench, kube, namespace

__all__ = ["bench", "kube", "namespace"]

BETWEEN_2_AND_5 = {"minReplicas": 2, "maxReplicas": 5}


async def replicas(bench: Bench) -> int:
    """How many pods the Deployment wants."""
    found = await bench.get(kinds.DEPLOYMENT)
    return int(found["spec"]["replicas"])


async def scale(bench: Bench, count: int) -> None:
    """Do what the autoscaler does: write the scale subresource as the controller-manager."""
    await bench.kube.patch(
        kinds.DEPLOYMENT,
        "web",
        bench.namespace,
        {"spec": {"replicas": count}},
        subresource="scale",
        field_manager="kube-controller-manager",
    )
    await bench.seen(bench.views.children["Deployment"], await bench.get(kinds.DEPLOYMENT))


@pytest.fixture
async def scaled(bench: Bench) -> Bench:
    """The bench with an App on 4 replicas that was then given to an autoscaler."""
    await bench.create(replicas=4, tier="pro")
    await bench.reconcile()
    await bench.change(autoscaling=BETWEEN_2_AND_5)
    await bench.reconcile()
    return bench


async def test_handover_keeps_the_pods_that_run(scaled: Bench) -> None:
    """Letting go of the number must not set it back to the default, which is one."""
    deployment = await scaled.get(kinds.DEPLOYMENT)

    assert deployment["spec"]["replicas"] == 4
    assert (await scaled.get(kinds.HORIZONTAL_POD_AUTOSCALER))["spec"]["maxReplicas"] == 5
    await scaled.assert_settled()


async def test_operator_does_not_fight_the_autoscaler(scaled: Bench) -> None:
    """Its number stays through reconciles, releases and restarts, and counts as what is wanted."""
    await scale(scaled, 3)
    await scaled.reconcile()
    await scaled.change(image="example.com/web:2")
    await scaled.reconcile()
    await scaled.play()

    app = await scaled.reconcile()

    assert await replicas(scaled) == 3
    assert app["status"]["phase"] == "Running"
    assert app["status"]["replicas"] == app["status"]["readyReplicas"] == 3
    await scaled.assert_settled()


async def test_new_app_is_made_without_a_number(bench: Bench) -> None:
    """One write for each child: the autoscaler itself raises it to its minimum."""
    await bench.create(tier="pro")
    await bench.change(autoscaling=BETWEEN_2_AND_5)

    await bench.reconcile()

    assert bench.writes() == 6  # release, Deployment, Service, budget, HPA, status
    await bench.assert_settled()


@pytest.mark.parametrize(
    ("change", "wanted"),
    [({"autoscaling": None}, 4), ({"suspended": True}, 0), ({"replicas": 0}, 0)],
    ids=["removed", "suspended", "zero"],
)
async def test_number_is_the_apps_again(scaled: Bench, change: dict[str, Any], wanted: int) -> None:
    """The autoscaler goes, and the App's own word counts."""
    await scale(scaled, 3)
    await scaled.change(**change)

    await scaled.reconcile()

    assert await replicas(scaled) == wanted
    assert await scaled.find(kinds.HORIZONTAL_POD_AUTOSCALER) is None
    await scaled.play()
    await scaled.reconcile()
    await scaled.assert_settled()


async def test_resumed_app_starts_at_its_minimum(scaled: Bench) -> None:
    """An autoscaler leaves a Deployment without pods alone, so it is not handed one."""
    await scaled.change(suspended=True)
    await scaled.reconcile()
    await scaled.change(suspended=False)

    await scaled.reconcile()

    assert await replicas(scaled) == 2
    await scaled.assert_settled()


async def test_deployment_scaled_to_nothing_by_hand_is_handed_over_anew(scaled: Bench) -> None:
    """Nobody else would ever bring it back."""
    await scale(scaled, 0)

    await scaled.reconcile()

    assert await replicas(scaled) == 2
    await scaled.assert_settled()


async def test_deleted_app_takes_its_autoscaler_along(scaled: Bench) -> None:
    """It is a child like the others."""
    await scaled.delete_app()
    for _ in range(3):
        await scaled.controller.reconcile((scaled.namespace, "web"))
        await scaled.settle_caches()

    assert await scaled.find(kinds.HORIZONTAL_POD_AUTOSCALER) is None
    assert await scaled.find(kinds.APP) is None
