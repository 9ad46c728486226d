"""What is told of commits that have no build."""

import pytest

from bex_operator.api import status
from bex_operator.plan import build_queue
from tests.bex_operator.plan.test_builds import NOW, A, B, C, built, decide, wish

NOTHING = status.Queue()


def due(commit: str, since: str = NOW) -> status.Queued:
    """A build that is due because of a push."""
    found = build_queue.waiting(wish(commit), decide(wish(commit), built(A, "Succeeded")), since)
    assert found is not None
    return found


def test_build_that_is_due_is_named() -> None:
    """With what it was due for; nothing is due where the commit is built, or not known."""
    waits = due(B)

    assert (waits.commit, waits.ref, waits.since, waits.trigger) == (B, "main", NOW, "push")
    done = decide(wish(A), built(A, "Succeeded"))
    assert build_queue.waiting(wish(A), done, NOW) is None
    assert build_queue.waiting(wish(None), decide(wish(None)), NOW) is None


def test_commit_that_loses_its_turn_is_kept() -> None:
    """Oldest first, with what came instead."""
    first = build_queue.after(NOTHING, B, due(B), [])
    second = build_queue.after(first, C, due(C), [])

    assert first == status.Queue(waiting=due(B))
    assert second.waiting == due(C)
    assert [(each.commit, each.superseded_by) for each in second.overtaken] == [(B, C)]


def test_commit_that_was_built_or_comes_back_did_not_lose() -> None:
    """Its Job says more."""
    begun = [built(B, "Running")]
    lost = build_queue.after(build_queue.after(NOTHING, B, due(B), []), C, due(C), [])

    assert build_queue.after(status.Queue(waiting=due(B)), C, None, begun) == NOTHING
    assert build_queue.after(lost, B, due(B), []).overtaken != lost.overtaken
    assert build_queue.after(lost, C, None, begun).overtaken == ()


def test_nothing_is_said_while_the_wanted_commit_is_not_known() -> None:
    """What was told stays."""
    told = status.Queue(waiting=due(B), forgotten=3)

    assert build_queue.after(told, None, None, []) == told


def test_only_the_last_ones_are_listed() -> None:
    """Others are counted."""
    told = NOTHING
    for number in range(status.MAX_OVERTAKEN + 4):
        commit = f"{number:040x}"
        told = build_queue.after(told, commit, due(commit), [])

    assert len(told.overtaken) == status.MAX_OVERTAKEN
    assert told.forgotten == 3
    assert told.overtaken[0].commit == f"{3:040x}"


@pytest.mark.parametrize("queue", [None, "x", {"waiting": 3}, {"forgotten": -1}])
def test_garbled_status_tells_nothing(queue: object) -> None:
    """Somebody else may have written it."""
    assert build_queue.reported({"status": {"queue": queue}}) == NOTHING


def test_status_is_read_as_it_is_written() -> None:
    """By the names that the API has."""
    told = build_queue.after(status.Queue(waiting=due(B)), C, due(C), [])
    written = told.model_dump(mode="json", by_alias=True, exclude_none=True)

    assert "supersededBy" in written["overtaken"][0]
    assert build_queue.reported({"status": {"queue": written}}) == told


def test_builds_that_count_are_kept_by_name() -> None:
    """The next decision begins with them."""
    told = build_queue.after(NOTHING, B, None, [], begun="web-2", built="web-1")

    assert told == status.Queue(begun="web-2", built="web-1")
