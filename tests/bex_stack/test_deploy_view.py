"""When a deploy is over, and how it went."""

from typing import Any

import pytest

from bex_stack import deploy_view


def app(generation: int = 2, **status: Any) -> dict[str, Any]:
    """An App whose operator has seen generation 2."""
    return {"metadata": {"generation": generation}, "status": {"observedGeneration": 2, **status}}


RUNNING = {"phase": "Running", "activeRevision": "rev-3", "release": {"number": 3}}


@pytest.mark.parametrize(
    ("given", "settled"),
    [
        (app(**RUNNING), True),
        (app(3, **RUNNING), False),
        (app(**{**RUNNING, "activeRevision": "rev-2"}), False),
        (app(phase="Hibernated"), True),
        (app(phase="Deploying", release={"number": 3}), False),
        ({"metadata": {"generation": 1}}, False),
    ],
)
def test_a_deploy_is_over_when_the_newest_release_serves(given: Any, settled: bool) -> None:
    """Of the newest spec, that is; a parked app has nothing on its way."""
    assert deploy_view.has_settled(given) is settled


def test_a_release_that_was_given_up_is_told() -> None:
    """With its reason; one that an older spec made does not count, nor while a newer one comes."""
    history = [{"number": 2, "served": True}, {"number": 3, "served": False, "message": "late"}]
    status = {"phase": "Running", "release": {"number": 3}, "history": history}

    assert deploy_view.why_given_up(app(**status)) == "rev-3 was given up: late"
    assert deploy_view.why_given_up(app(3, **status)) is None
    comes = {"type": "Ready", "status": "True", "reason": "Building", "message": "builds"}
    assert deploy_view.why_given_up(app(**status, conditions=[comes])) is None


def test_failed_without_a_release_gives_the_condition() -> None:
    """A bad spec never makes a release."""
    ready = {"type": "Ready", "status": "False", "message": "image is absent"}

    assert deploy_view.why_given_up(app(phase="Failed", conditions=[ready])) == "image is absent"
    assert deploy_view.why_given_up(app(phase="Pending")) is None


def test_a_line_says_release_phase_and_pods() -> None:
    """One line tells all there is."""
    line = deploy_view.describe(app(**RUNNING, readyReplicas=1, replicas=2))

    assert line == "rev-3: Running, 1 of 2 pods ready"
