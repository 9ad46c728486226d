"""Which release runs: the newest, or, while that may not or cannot serve, the one before it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from bex_operator.api import records, status
from bex_operator.plan import artefacts, causes, history, predeploy, rollouts

LATE_REASON = "ProgressDeadlineExceeded"


@dataclass(frozen=True, slots=True)
class Choice:
    """What runs, and what is to be said of the newest release."""

    record: records.Record | None
    """None if nothing may run."""
    standing: rollouts.Standing
    starts: bool = False
    """The pre-deploy command of the newest release is to be started."""


def choose(
    known: Sequence[records.Record],
    running: status.Release | None,
    before: status.AppStatus | None,
    gate: predeploy.Gate,
) -> Choice:
    """Choose between the newest of the *known* releases and an earlier one.

    *running* is what the Deployment has, *gate* tells whether the newest may serve.
    """
    newest = known[-1]
    failed = history.failure(before.history if before else (), newest.number)
    standing = rollouts.Standing(newest.release, note=newest.note, pre_deploy=gate.report)
    cause = gate.cause
    if failed is not None:
        cause = causes.Cause(failed.reason or LATE_REASON, failed.message or "", broken=True)
    if cause is None:
        return Choice(newest, standing)
    earlier = history.previous(known, running, before)
    if earlier is None and gate.open:
        # Late, but there is nothing else: it may come yet.
        return Choice(newest, standing)
    starts = gate.starts and failed is None
    return Choice(earlier, dataclasses.replace(standing, held=cause), starts)


def without_image(
    choice: Choice, artefact: artefacts.Waiting | artefacts.Failed, *, rolled_back: bool
) -> Choice:
    """Add to what runs that there is no image for what is asked for.

    What is *rolled_back* runs as asked for, whatever becomes of the image.
    """
    if rolled_back:
        return choice
    building = isinstance(artefact, artefacts.Waiting)
    held = causes.Cause(artefact.reason, artefact.message, broken=not building)
    standing = dataclasses.replace(choice.standing, held=held, building=building, note=None)
    return Choice(choice.record, standing)


def phase(standing: rollouts.Standing, *, parked: bool) -> status.Phase:
    """Name the state of an App that has nothing to run."""
    if parked:
        return "Hibernated"
    if standing.building:
        return "Building"
    return "Deploying" if standing.held and not standing.held.broken else "Failed"
