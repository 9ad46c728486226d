"""In which order a deleted App's children go."""

import datetime
from typing import Any

from bex_operator.api import conditions, status
from bex_operator.plan import teardown

NOW = "2026-01-31T12:20:00Z"


def child(kind: str, *, leaving: bool = False, held: tuple[str, ...] = ()) -> dict[str, Any]:
    """An object, perhaps on its way out."""
    metadata: dict[str, Any] = {"name": "web", "finalizers": list(held)}
    return {"kind": kind, "metadata": metadata | ({"deletionTimestamp": "t"} if leaving else {})}


def test_routes_go_before_everything_else() -> None:
    """No request may meet a Service without pods."""
    ingress, deployment = child("Ingress"), child("Deployment")

    assert teardown.next_step([deployment, ingress]) == teardown.Step((ingress,), ())


def test_stage_waits_for_what_is_on_its_way() -> None:
    """Nothing is deleted twice, and the next stage waits."""
    leaving = child("Ingress", leaving=True)

    assert teardown.next_step([leaving, child("Service")]) == teardown.Step((), (leaving,))


def test_rest_goes_at_once_and_then_it_is_done() -> None:
    """Without anything left the finalizer can go."""
    rest = [child("Deployment"), child("PodDisruptionBudget"), child("Service")]

    assert teardown.next_step(rest) == teardown.Step(tuple(rest), ())
    assert not teardown.next_step(rest).done
    assert teardown.next_step([]).done


APP = {"metadata": {"generation": 4, "deletionTimestamp": "2026-01-31T12:00:00Z"}}


def test_patience_ends_after_a_quarter_of_an_hour() -> None:
    """It counts from the App's deletion, whoever was running then."""
    minutes = [
        datetime.datetime(2026, 1, 31, 12, each, tzinfo=datetime.UTC) for each in (0, 14, 16)
    ]

    left = [teardown.patience_seconds(APP, now=now) for now in minutes]

    assert left == [900, 60, -60]


def test_stalled_deletion_names_what_holds_it_and_keeps_the_rest() -> None:
    """What was known of the App stays known."""
    before = status.AppStatus(
        phase="Running",
        observed_generation=3,
        conditions=conditions.merge(
            (), [conditions.Fact("Ready", True, "Deployed", "1/1")], generation=3, now=NOW
        ),
    )
    step = teardown.Step((), (child("Ingress", leaving=True, held=("a/b",)),))

    after = teardown.stalled(APP, before, step, "refused by somebody", now=NOW)

    assert [each.type for each in after.conditions] == ["Ready", "DeletionStalled"]
    assert after.conditions[1].message == (
        "Ingress 'web' waits for its finalizers: a/b; refused by somebody"
    )
    assert after.phase == "Running"
    assert teardown.stalled(APP, after, step, "refused by somebody", now="later") == after


def test_order_of_all_stages() -> None:
    """Routes, then what runs, then the records of it."""
    jobs, service, record = child("Job"), child("Service"), child("ControllerRevision")

    assert teardown.next_step([record, jobs, service]).delete == (jobs, service)
    assert teardown.next_step([record]).delete == (record,)


def test_what_builds_left_holds_the_deletion_too() -> None:
    """It is told as it was said; of an App that nobody ever reported on, too."""
    step = teardown.Step((), (child("Service", leaving=True),), ("image web:1",))

    after = teardown.stalled(APP, None, step, "", now=NOW)

    assert not teardown.Step((), (), ("image web:1",)).done
    assert after == status.AppStatus(
        phase="Pending",
        observed_generation=4,
        conditions=[
            status.Condition(
                type="DeletionStalled",
                status="True",
                reason="NotGoneInTime",
                message="Service 'web' is still there; image web:1 is still there",
                observed_generation=4,
                last_transition_time=NOW,
            )
        ],
    )


def test_only_our_finalizer_is_taken_away() -> None:
    """Those of others stay, in order."""
    assert teardown.without_finalizer(["a/b", "app.bex.co/finalizer", "c/d"]) == ["a/b", "c/d"]
