"""What is said of commits that were due and have no build: one waits, others were overtaken. Pure.

It stands in the App's status, so that an operator that was away knows what its predecessor saw; it
is written with whatever else that status says.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from bex_operator.api import status
from bex_operator.plan.build_outcomes import Build
from bex_operator.plan.builds import Decision, Wish


def reported(manifest: Mapping[str, Any]) -> status.Queue:
    """Read what was told of an App last; nothing if that is garbled."""
    told = (manifest.get("status") or {}).get("queue") or {}
    try:
        return status.Queue.model_validate(told, by_alias=True, by_name=False)
    except pydantic.ValidationError:
        return status.Queue()


def waiting(wish: Wish, decision: Decision, since: str) -> status.Queued | None:
    """Name the build that is due, *since* when; None if none is."""
    if decision.due is None or wish.head.commit is None:
        return None
    return status.Queued(
        job=decision.due,
        commit=wish.head.commit,
        ref=wish.request.ref or wish.source.branch,
        since=since,
        trigger=decision.why.trigger,
        by=decision.why.by,
    )


def after(
    before: status.Queue,
    commit: str | None,
    waits: status.Queued | None,
    known: Sequence[Build],
    *,
    begun: str | None = None,
    built: str | None = None,
) -> status.Queue:
    """Say what is told next, now that *commit* is wanted and *waits* is due.

    *begun* and *built* are the builds that count from now on. While it is not known which commit
    is wanted, what was told stays.
    """
    if commit is None:
        return before
    was, jobs = before.waiting, {each.job for each in known}
    listed = [each for each in before.overtaken if each.commit != commit and each.job not in jobs]
    if was is not None and was.commit != commit and was.job not in jobs:
        listed.append(status.Overtaken(**was.model_dump(), superseded_by=commit))
    dropped = max(0, len(listed) - status.MAX_OVERTAKEN)
    return status.Queue(
        waiting=waits,
        overtaken=tuple(listed[dropped:]),
        forgotten=before.forgotten + dropped,
        begun=begun,
        built=built,
    )
