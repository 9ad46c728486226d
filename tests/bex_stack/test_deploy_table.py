"""The table of deploys: what is told of a release, and of a build that became none."""

import io
from typing import Any

import orjson
import pytest
from rich import console as consoles

from bex_operator.api import records
from bex_operator.plan import build_outcomes
from bex_stack import deploy_table, release_table

BUILT = records.Made(
    job="web-1",
    commit="a" * 40,
    author="Ada",
    subject="Add [bold]things[/bold]",
    trigger="order",
    by="bo",
    ended="2026-01-31T11:59:59.500+00:00",
    seconds={"queue": 1.0, "place": 2.0, "clone": 0.5, "resolve": 0.1, "build": 10.0, "push": 1.0},
)
WHEN = "2026-01-31T12:00:00Z"
SERVED = {
    "number": 1,
    "served": True,
    "at": "2026-01-31T12:00:07Z",
    "placedAt": "2026-01-31T12:00:01Z",
    "startedAt": "2026-01-31T12:00:04Z",
    "readyAt": "2026-01-31T12:00:06Z",
}


def released(made: records.Made | None = BUILT) -> release_table.Releases:
    """An App whose only release serves."""
    app = {
        "metadata": {"name": "web"},
        "status": {"history": [SERVED], "activeRevision": "rev-1"},
    }
    record = records.Record(
        number=1, digest="d", config={"image": "a/b:1"}, why="changed: env", who="ada", made=made
    )
    return release_table.Releases(app, [(record, WHEN)])


def job(name: str, created: str = WHEN, **outcome: Any) -> dict[str, Any]:
    """A Job of a build that has ended."""
    annotations = {
        build_outcomes.COMMIT_ANNOTATION: "b" * 40,
        build_outcomes.OUTCOME_ANNOTATION: orjson.dumps(outcome).decode() if outcome else "{}",
    }
    metadata = {"name": name, "creationTimestamp": created, "annotations": annotations}
    return {"metadata": metadata}


def test_release_tells_its_build_without_the_job() -> None:
    """Everything from the queue to being ready comes from what the release keeps."""
    (row,) = deploy_table.rows(released(), [])

    assert (row.commit, row.author, row.trigger) == ("aaaaaaa", "Ada", "order of bo")
    assert (row.build_seconds, row.rollout_seconds, row.result) == (13.6, 7.0, "serving")
    assert deploy_table.breakdown(row) == (
        "rev-1 took 22.1 s: queue 1.0, place 2.0, clone 0.5, resolve 0.1, build 10.0, push 1.0,"
        " release 0.5, schedule 1.0, pull and start 3.0, ready 2.0, seen 1.0"
    )


def test_release_of_an_image_that_was_there_has_no_build() -> None:
    """A changed variable is told as what it is, beside the commit that runs."""
    (row,) = deploy_table.rows(released(BUILT.model_copy(update={"reused": True})), [])

    assert (row.commit, row.trigger, row.build_seconds) == ("aaaaaaa", "changed: env by ada", None)


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        ({}, "building"),
        ({"state": "Failed", "fault": "repository"}, "build failed (repository)"),
        ({"state": "Failed", "fault": "platform"}, "build failed (platform)"),
        ({"state": "Cancelled", "message": "cancelled by ada"}, "cancelled"),
        ({"state": "Skipped"}, "not needed"),
        ({"state": "Succeeded", "image": "a@b"}, "superseded"),
    ],
)
def test_build_that_became_no_release_is_told_by_its_job(
    outcome: dict[str, Any], result: str
) -> None:
    """And the Job of one that did is not told twice."""
    before = "2026-01-31T11:00:00Z"
    found = deploy_table.rows(released(), [job("web-1"), job("web-2", before, **outcome)])

    assert [(row.commit, row.revision, row.result) for row in found] == [
        ("aaaaaaa", "rev-1", "serving"),
        ("bbbbbbb", "-", result),
    ]


def test_commit_without_a_build_is_told() -> None:
    """One waits, another lost its turn; of what has a Job by now, the Job tells."""
    due = {"commit": "c" * 40, "ref": "main", "since": "2026-01-31T13:00:00.000+00:00"}
    lost = {**due, "commit": "d" * 40, "since": "2026-01-31T12:30:00.000+00:00"}
    known = released()
    known.app["status"]["queue"] = {
        "waiting": {**due, "job": "web-4", "trigger": "order", "by": "bo"},
        "overtaken": [
            {**lost, "job": "web-3", "supersededBy": "c" * 40},
            {**lost, "job": "web-2", "supersededBy": "c" * 40},
        ],
        "forgotten": 7,
    }

    waits, superseded, *others = deploy_table.rows(known, [job("web-2")])

    assert (waits.commit, waits.trigger, waits.result) == (
        "ccccccc", "order of bo", "waiting to be built",
    )  # fmt: skip
    assert waits.when == "2026-01-31T13:00:00Z"
    assert (superseded.commit, superseded.result) == ("ddddddd", "superseded by ccccccc")
    assert superseded.message == "7 commits before it were superseded, too"
    assert {each.commit for each in others} == {"aaaaaaa", "bbbbbbb"}


def test_table_shows_what_people_wrote_as_they_wrote_it() -> None:
    """A commit's subject is text, not markup; the last deploy's times stand below."""
    console = consoles.Console(width=40, record=True, file=io.StringIO())
    console.print(deploy_table.render(deploy_table.rows(released(), [])), soft_wrap=True)
    heading, line, _, breakdown = console.export_text().splitlines()

    assert heading.split()[:3] == ["COMMIT", "REVISION", "WHEN"]
    assert line.endswith("Add [bold]things[/bold]")
    assert breakdown.startswith("rev-1 took 22.1 s: queue 1.0")
