"""In which order a deleted App's children go."""

from typing import Any

from bex_operator.plan import teardown


def child(kind: str, *, leaving: bool = False) -> dict[str, Any]:
    """An object, perhaps on its way out."""
    return {"kind": kind, "metadata": {"deletionTimestamp": "t"} if leaving else {}}


def test_routes_go_before_everything_else() -> None:
    """No request may meet a Service without pods."""
    ingress, deployment = child("Ingress"), child("Deployment")

    assert teardown.next_step([deployment, ingress]) == teardown.Step((ingress,), done=False)


def test_stage_waits_for_what_is_on_its_way() -> None:
    """Nothing is deleted twice, and the next stage waits."""
    leaving = child("Ingress", leaving=True)

    assert teardown.next_step([leaving, child("Service")]) == teardown.Step((), done=False)


def test_rest_goes_at_once_and_then_it_is_done() -> None:
    """Without anything left the finalizer can go."""
    rest = [child("Deployment"), child("PodDisruptionBudget"), child("Service")]

    assert teardown.next_step(rest) == teardown.Step(tuple(rest), done=False)
    assert teardown.next_step([]) == teardown.Step((), done=True)
