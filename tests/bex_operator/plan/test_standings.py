"""Which release runs while the newest may not or cannot serve."""

from typing import Any

import pytest

from bex_operator.api import records, status
from bex_operator.plan import artefacts, causes, predeploy, rollouts, standings

OPEN = predeploy.Gate(True)
RUNS = causes.Cause("PreDeploying", "it runs", broken=False)
WAITS = predeploy.Gate(False, cause=RUNS, starts=True)
REPORT = status.PreDeploy(number=3, job="j", state="Running")


def record(number: int, **fields: Any) -> records.Record:
    """One release."""
    given = {"digest": f"d{number}", "config": {"image": "a/b:1"}, "why": "w", **fields}
    return records.Record(number=number, **given)


ONE, TWO, THREE = record(1), record(2), record(3, note="the tag may move")
KNOWN = (ONE, TWO, THREE)


def before(active: int | None = None, *failed: status.Outcome) -> status.AppStatus:
    """What was reported last."""
    return status.AppStatus(
        phase="Running",
        observed_generation=1,
        active_revision=f"rev-{active}" if active else None,
        history=failed,
    )


def gave_up(number: int, **fields: Any) -> status.Outcome:
    """A release that was given up."""
    return status.Outcome(**{"number": number, "served": False, "message": "m", **fields})


def test_newest_runs_when_nothing_is_in_its_way() -> None:
    """Whatever served before."""
    gate = predeploy.Gate(True, REPORT)

    found = standings.choose(KNOWN, TWO.release, before(2), gate)

    standing = rollouts.Standing(THREE.release, note="the tag may move", pre_deploy=REPORT)
    assert found == standings.Choice(THREE, standing)


def test_what_runs_goes_on_while_a_command_runs() -> None:
    """The Deployment's release, though it is not the one that served last."""
    gate = predeploy.Gate(False, REPORT, RUNS, starts=True)

    found = standings.choose(KNOWN, TWO.release, before(1), gate)

    assert (found.record, found.starts) == (TWO, True)
    assert found.standing == rollouts.Standing(
        THREE.release, held=RUNS, note="the tag may move", pre_deploy=REPORT
    )


@pytest.mark.parametrize(
    ("running", "active", "failed", "earlier"),
    [
        (THREE.release, 1, (), ONE),
        (None, 2, (), TWO),
        (TWO.release, 1, (gave_up(2),), ONE),
        (THREE.release, 3, (), None),
        (THREE.release, None, (), None),
        (None, 9, (), None),
        (TWO.release, 2, (gave_up(2),), None),
    ],
)
def test_earlier_release_is_what_runs_or_served(
    running: status.Release | None,
    active: int | None,
    failed: tuple[status.Outcome, ...],
    earlier: records.Record | None,
) -> None:
    """Never the newest itself, nor one that was given up."""
    assert standings.choose(KNOWN, running, before(active, *failed), WAITS).record == earlier


def test_nothing_runs_before_the_first_command_is_done() -> None:
    """There is no earlier release, and nothing was reported yet."""
    found = standings.choose((ONE,), None, None, WAITS)

    assert (found.record, found.starts, found.standing.held) == (None, True, RUNS)


def test_given_up_release_makes_room_for_the_one_before() -> None:
    """The condition says why, and its command is not started."""
    failed = gave_up(3, reason="PreDeployFailed", message="exit code 1")

    found = standings.choose(KNOWN, TWO.release, before(2, failed), WAITS)

    held = causes.Cause("PreDeployFailed", "exit code 1", broken=True)
    assert (found.record, found.starts, found.standing.held) == (TWO, False, held)


def test_late_release_is_kept_if_there_is_nothing_else() -> None:
    """It may come yet."""
    found = standings.choose((ONE,), ONE.release, before(None, gave_up(1)), OPEN)

    assert (found.record, found.standing.held) == (ONE, None)


def test_late_release_says_so() -> None:
    """The reason is that of a deadline unless another one is known."""
    found = standings.choose(KNOWN, THREE.release, before(2, gave_up(3, message=None)), OPEN)

    assert found.record == TWO
    assert found.standing.held == causes.Cause("ProgressDeadlineExceeded", "", broken=True)


CHOICE = standings.Choice(TWO, rollouts.Standing(THREE.release, note="n"))


def test_build_that_goes_on_holds_the_release() -> None:
    """Nothing is wrong."""
    waiting = artefacts.Waiting("Building", "builds commit 1", 5)

    found = standings.without_image(CHOICE, waiting, rolled_back=False)

    held = causes.Cause("Building", "builds commit 1", broken=False)
    standing = rollouts.Standing(THREE.release, held=held, building=True)
    assert found == standings.Choice(TWO, standing)


def test_failed_build_holds_the_release() -> None:
    """Somebody has to change something."""
    found = standings.without_image(
        CHOICE, artefacts.Failed("BuildFailed", "exit code 1"), rolled_back=False
    )

    assert found.standing.held == causes.Cause("BuildFailed", "exit code 1", broken=True)
    assert not found.standing.building


def test_rollback_needs_no_build() -> None:
    """What runs is what is asked for."""
    failed = artefacts.Failed("BuildFailed", "exit code 1")

    assert standings.without_image(CHOICE, failed, rolled_back=True) == CHOICE


@pytest.mark.parametrize(
    ("standing", "parked", "phase"),
    [
        (rollouts.Standing(held=RUNS), False, "Deploying"),
        (rollouts.Standing(held=RUNS), True, "Hibernated"),
        (rollouts.Standing(held=RUNS, building=True), False, "Building"),
        (rollouts.Standing(held=causes.Cause("R", "m", True)), False, "Failed"),
        (rollouts.Standing(), False, "Failed"),
    ],
)
def test_phase_of_an_app_with_nothing_to_run(
    standing: rollouts.Standing, parked: bool, phase: str
) -> None:
    """Failed only if nothing will become of it by itself."""
    assert standings.phase(standing, parked=parked) == phase
