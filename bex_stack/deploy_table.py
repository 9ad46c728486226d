"""An app's deploys: what came of every build and every release, as a table and as one breakdown.

A release tells for itself how its image was built; a build that became no release is told by its
Job, of which the last ones are kept.
"""

import datetime
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import console as consoles
from rich import markup, table

from bex_operator.api import names, records, status
from bex_operator.kube import client as kube
from bex_operator.kube import kinds
from bex_operator.plan import build_outcomes, build_queue
from bex_stack import app_access, release_table, targets

SHORT_COMMIT = 7
SUBJECT_WIDTH = 50
BUILD_STEPS = ("place", "clone", "resolve", "build", "push")
COLOURS = {
    "serving": "green",
    "served": "dim",
    "building": "yellow",
    "rolling out": "yellow",
    "waiting to be built": "yellow",
}
FAULTS = {"repository": "build failed (repository)", "platform": "build failed (platform)"}


@dataclass(frozen=True, slots=True)
class Row:
    """One deploy: a build, a release, or both."""

    revision: str
    """`-` if there is none."""
    commit: str
    author: str
    subject: str
    trigger: str
    when: str
    build_seconds: float | None
    rollout_seconds: float | None
    result: str
    message: str = ""
    """Why it failed, or what else is to be known."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By step, from the queue to being ready."""

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON."""
        return asdict(self)


async def observe(target: targets.Target, name: str) -> list[Row]:
    """Read an app's deploys from the stack's cluster, newest first."""
    async with app_access.client(target) as cluster:
        return await read(cluster, name)


async def read(cluster: kube.Client, name: str) -> list[Row]:
    """Read an app's deploys through *cluster*, newest first."""
    found = await release_table.read(cluster, name)
    labels = f"{names.APP_UID_LABEL}={found.app['metadata']['uid']}"
    jobs = await cluster.list(kinds.JOB, names.BUILD_NAMESPACE, labels=labels)
    label = f"{labels},{names.COMPONENT_LABEL}=build"
    pods = await cluster.list(kinds.POD, names.BUILD_NAMESPACE, labels=label)
    return rows(found, jobs.items, pods.items)


def rows(
    found: release_table.Releases,
    jobs: Sequence[Mapping[str, Any]],
    pods: Sequence[Mapping[str, Any]] = (),
) -> list[Row]:
    """Lay out every deploy, newest first."""
    history = {
        each["number"]: status.Outcome.model_validate(each, by_alias=True)
        for each in found.app.get("status", {}).get("history") or []
    }
    told = {row.revision: row for row in found.rows()}
    released = [
        _release(record, when, told[record.revision], history.get(record.number))
        for record, when in found.kept
    ]
    ran = {record.made.job for record, _ in found.kept if record.made is not None}
    newest = max((when for _, when in found.kept), default="")
    alone = [_build(job, pods, newest) for job in jobs if job["metadata"]["name"] not in ran]
    ran |= {job["metadata"]["name"] for job in jobs}
    unbuilt = _unbuilt(build_queue.reported(found.app), ran)
    return sorted([*released, *alone, *unbuilt], key=lambda row: row.when, reverse=True)


def _release(
    record: records.Record, when: str, told: release_table.Row, outcome: status.Outcome | None
) -> Row:
    made = record.made
    built = made.seconds if made is not None and not made.reused else {}
    rollout = _rollout(when, outcome)
    result = {"failed": "rollout failed", "on its way": "rolling out", "skipped": "superseded"}
    return Row(
        revision=record.revision,
        commit=made.commit[:SHORT_COMMIT] if made else "-",
        author=made.author if made else "-",
        subject=made.subject if made else "-",
        trigger=_trigger(made) if made and built else _why(record),
        when=when,
        build_seconds=_build_seconds(built),
        rollout_seconds=_between(when, outcome.at) if outcome and outcome.served else None,
        result=result.get(told.state, told.state),
        message=told.message,
        seconds={**built, **_release_seconds(made, when, built), **rollout},
    )


def _build(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], newest_release: str) -> Row:
    label = "batch.kubernetes.io/job-name"
    mine = [
        each for each in pods if each["metadata"]["labels"].get(label) == job["metadata"]["name"]
    ]
    build = build_outcomes.read(job, mine)
    made = build.made
    assert made is not None  # noqa: S101 - every Job that is read has one
    results = {
        "Running": f"building: {build.step}" if build.step else "building",
        "Failed": FAULTS.get(build.fault, "build failed"),
        "Cancelled": "cancelled",
        "Skipped": "not needed",
        # The same image as before makes no release; another one that was not deployed lost to a
        # newer one, or comes at once.
        "Succeeded": "superseded" if build.created < newest_release else "built",
    }
    return Row(
        revision="-",
        commit=build.commit[:SHORT_COMMIT],
        author=made.author or "-",
        subject=made.subject or "-",
        trigger=_trigger(made),
        when=build.created,
        build_seconds=_build_seconds(made.seconds) if made.ended else None,
        rollout_seconds=None,
        result=results[build.state],
        message=build.message,
        seconds=dict(made.seconds),
    )


def _unbuilt(queue: status.Queue, ran: Container[str]) -> Iterator[Row]:
    """Tell of commits that have no Job, newest first: one waits, others lost to newer ones."""
    if queue.waiting is not None and queue.waiting.job not in ran:
        yield _without_job(queue.waiting, "waiting to be built")
    for each in reversed(queue.overtaken):
        if each.job in ran:
            continue  # the Job is newer than the status
        more = queue.forgotten if each is queue.overtaken[0] else 0
        message = f"{more} commits before it were superseded, too" if more else ""
        yield _without_job(each, f"superseded by {each.superseded_by[:SHORT_COMMIT]}", message)


def _without_job(due: status.Queued, result: str, message: str = "") -> Row:
    since = datetime.datetime.fromisoformat(due.since).astimezone(datetime.UTC)
    return Row(
        revision="-",
        commit=due.commit[:SHORT_COMMIT],
        author="-",
        subject="-",
        trigger=_started(due.trigger, due.by),
        when=since.strftime("%Y-%m-%dT%H:%M:%SZ"),
        build_seconds=None,
        rollout_seconds=None,
        result=result,
        message=message,
    )


def _trigger(made: records.Made) -> str:
    return _started(made.trigger, made.by)


def _started(trigger: str, who: str | None) -> str:
    by = f" of {who}" if who else ""
    return {
        "first": f"first deploy{by}",
        "push": "push",
        "order": f"order{by}",
        "spec": f"spec change{by}",
    }[trigger]


def _why(record: records.Record) -> str:
    return f"{record.why} by {record.who}" if record.who else record.why


def _build_seconds(seconds: Mapping[str, float]) -> float | None:
    found = [seconds[step] for step in BUILD_STEPS if step in seconds]
    return round(sum(found), 1) if found else None


def _release_seconds(
    made: records.Made | None, when: str, built: Mapping[str, float]
) -> dict[str, float]:
    """How long the image waited to become a release."""
    waited = _between(made.ended, when) if made is not None and built else None
    return {"release": waited} if waited is not None else {}


def _rollout(opened: str, outcome: status.Outcome | None) -> dict[str, float]:
    """Divide the way of the release's last pod; the kubelet tells whole seconds."""
    if outcome is None or not outcome.served:
        return {}
    ends = {
        "schedule": (opened, outcome.placed_at),
        "pull and start": (outcome.placed_at, outcome.started_at),
        "ready": (outcome.started_at, outcome.ready_at),
        "seen": (outcome.ready_at, outcome.at),
    }
    found = {name: _between(start, end) for name, (start, end) in ends.items()}
    return {name: seconds for name, seconds in found.items() if seconds is not None}


def _between(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    read = datetime.datetime.fromisoformat
    return max(0.0, round((read(end) - read(start)).total_seconds(), 3))


def render(found: Sequence[Row]) -> consoles.Group:
    """Lay the rows out as a table without lines, why builds failed above it, the last one's times
    below it."""
    headings = ("COMMIT", "REVISION", "WHEN", "TRIGGER", "BUILD", "ROLLOUT", "RESULT", "AUTHOR",
                "SUBJECT")  # fmt: skip
    cells = [
        (
            each.commit,
            each.revision,
            each.when,
            each.trigger,
            _seconds(each.build_seconds),
            _seconds(each.rollout_seconds),
            each.result,
            each.author,
            each.subject[:SUBJECT_WIDTH],
        )
        for each in found
    ]
    longest = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    # As wide as it is: cut to a pipe's supposed 80 columns it would say nothing.
    drawn = table.Table(
        box=None, pad_edge=False, header_style="dim", width=sum(longest) + 2 * len(longest)
    )
    for heading in headings:
        drawn.add_column(heading, no_wrap=True)
    for row in cells:
        *before, result, author, subject = map(markup.escape, row)
        colour = COLOURS.get(row[6].partition(":")[0], "red" if "failed" in result else "dim")
        drawn.add_row(*before, f"[{colour}]{result}[/{colour}]", author, subject)
    troubles = [f"{each.commit}: {markup.escape(each.message)}" for each in found if each.message]
    return consoles.Group(*troubles, drawn, *_breakdowns(found))


def _breakdowns(found: Iterable[Row]) -> list[str]:
    last = next((each for each in found if each.seconds), None)
    return [f"\n{breakdown(last)}"] if last is not None else []


def breakdown(row: Row) -> str:
    """Say in one line where a deploy's time went."""
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in row.seconds.items())
    total = sum(row.seconds.values())
    name = row.revision if row.revision != "-" else row.commit
    return f"{name} took {total:.1f} s: {parts}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
