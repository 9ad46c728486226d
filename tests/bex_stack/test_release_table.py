"""The table of releases, and which release a rollback means."""

import io
from typing import Any

import pytest
from rich import console as consoles

from bex_operator.api import records
from bex_stack import errors, release_table

WHEN = "2026-01-31T12:00:00Z"


def found(*served: int, failed: tuple[int, ...] = (), active: str = "") -> release_table.Releases:
    """Releases 1 to 4, of which some served and some failed."""
    history: list[dict[str, Any]] = [{"number": each, "served": True} for each in served]
    history += [{"number": each, "served": False, "message": "late"} for each in failed]
    app = {
        "metadata": {"name": "web"},
        "status": {"history": history, "activeRevision": active},
    }
    kept = [
        records.Record(number=number, digest="d", config={"image": "a/b:1"}, why="w")
        for number in (4, 3, 2, 1)
    ]
    return release_table.Releases(app, [(each, WHEN) for each in kept])


def test_states_tell_what_became_of_each_release() -> None:
    """Newest first: on its way, given up, never served, serving."""
    rows = found(1, failed=(3,), active="rev-1").rows()

    assert [(row.revision, row.state) for row in rows] == [
        ("rev-4", "on its way"),
        ("rev-3", "failed"),
        ("rev-2", "skipped"),
        ("rev-1", "serving"),
    ]
    assert rows[1].message == "late"


def test_table_is_never_cut() -> None:
    """Scripts read it through pipes, which have no width; why a release failed stands above."""
    console = consoles.Console(width=40, record=True, file=io.StringIO())

    console.print(
        release_table.render(found(1, failed=(3,), active="rev-1").rows()), soft_wrap=True
    )

    lines = [line.split() for line in console.export_text().splitlines()]
    assert lines[:2] == [
        ["late"],
        ["REVISION", "IMAGE", "DIGEST", "WHEN", "WHO", "STATE", "WHY"],
    ]
    assert lines[-1] == ["rev-1", "a/b:1", "-", WHEN, "-", "serving", "w"]


def test_row_shows_a_short_digest() -> None:
    """Enough to compare, and none where the tag is used as it is."""
    record = records.Record(
        number=1,
        digest="d",
        config={"image": "a/b:1"},
        why="w",
        image_digest="sha256:" + "0123456789abcdef" * 4,
    )
    (row,) = release_table.Releases({"metadata": {}}, [(record, WHEN)]).rows()

    assert row.digest == "sha256:0123456789ab"
    assert found().rows()[0].digest == "-"


@pytest.mark.parametrize(
    ("releases", "target"),
    [
        (found(1, 2, 3, 4, active="rev-4"), 3),
        (found(1, 2, 4, failed=(3,), active="rev-4"), 2),
        (found(1, 2, failed=(4,), active="rev-2"), 2),
        (found(1, active="rev-1"), 1),
    ],
    ids=["the one before", "not one that failed", "what serves on", "newest on its way"],
)
def test_rollback_means_what_served_before_the_newest(
    releases: release_table.Releases, target: int
) -> None:
    """A release that never served is no place to go back to."""
    assert releases.target(None).number == target


def test_named_release_is_taken_whatever_became_of_it() -> None:
    """A person may know better."""
    assert found(failed=(3,)).target("rev-3").number == 3


@pytest.mark.parametrize(
    ("revision", "message"), [(None, "no earlier release"), ("rev-9", "kept: rev-4, rev-3")]
)
def test_release_that_is_not_kept_is_refused(revision: str | None, message: str) -> None:
    """The message says what there is."""
    with pytest.raises(errors.StackError, match=message):
        found(4, active="rev-4").target(revision)
