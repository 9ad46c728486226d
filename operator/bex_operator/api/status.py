"""What the operator reports about an App: conditions are the truth, the phase is for people."""

from typing import Annotated, Literal

from pydantic import Field

from bex_operator.api import rules

MAX_OVERTAKEN = 20
"""Commits that lost to newer ones and are listed."""
Phase = Literal["Pending", "Building", "Deploying", "Running", "Hibernated", "Failed"]


class Condition(rules.Model):
    """One fact about the App, and since when it holds."""

    type: Annotated[str, Field(max_length=316)]
    """What the fact is about, like Ready."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, as one word for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, and what would mend it, for people."""
    observed_generation: Annotated[int, Field(ge=0)]
    """Generation of the App this was found for."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the status last changed."""


class Release(rules.Model):
    """The newest release: one image with one runtime configuration."""

    number: Annotated[int, Field(ge=0)]
    """Counts the App's releases; never used twice."""
    digest: str
    """Digest of the runtime configuration."""


class Outcome(rules.Model):
    """What became of a release."""

    number: Annotated[int, Field(ge=0)]
    """Number of the release."""
    served: bool
    """Whether every replica of it was ready once; if not, it was given up."""
    reason: Annotated[str, Field(max_length=128)] | None = None
    """Why it was given up, as one word; ProgressDeadlineExceeded if there is none."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """Why it was given up."""
    at: Annotated[str, Field(max_length=40)] | None = None
    """When that was found."""
    placed_at: Annotated[str, Field(max_length=40)] | None = None
    """When the pod that was ready last had got a machine."""
    started_at: Annotated[str, Field(max_length=40)] | None = None
    """When that pod's container started: its image had been pulled."""
    ready_at: Annotated[str, Field(max_length=40)] | None = None
    """When that pod was ready."""


class PreDeploy(rules.Model):
    """The command that ran before the newest release that has one."""

    number: Annotated[int, Field(ge=0)]
    """Number of the release."""
    job: Annotated[str, Field(max_length=253)]
    """Name of the Job; it is kept for an hour after its end."""
    state: Literal["Running", "Succeeded", "Failed"]
    """What became of it."""
    started_at: Annotated[str, Field(max_length=40)] | None = None
    """When it began."""
    finished_at: Annotated[str, Field(max_length=40)] | None = None
    """When it ended."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """Why it failed, or what it waits for."""


class Queued(rules.Model):
    """A build that is due and has not begun."""

    job: Annotated[str, Field(max_length=63)]
    """Name that its Job will have."""
    commit: Annotated[str, Field(max_length=64)]
    """What it will build."""
    ref: Annotated[str, Field(max_length=255)]
    """The branch, tag or commit that was asked for."""
    since: Annotated[str, Field(max_length=40)]
    """When it was known to be due."""
    trigger: Annotated[str, Field(max_length=16)] = "push"
    """What it was due for: first, push, order or spec."""
    by: Annotated[str, Field(max_length=253)] | None = None
    """Who asked, or changed the spec."""


class Overtaken(Queued):
    """A build that was due and never began: a newer commit came first."""

    superseded_by: Annotated[str, Field(max_length=64)]
    """The commit that came first."""


class Queue(rules.Model):
    """Commits of the App's repository that have no build."""

    waiting: Annotated[Queued, Field(strict=False)] | None = None
    """The build that is due and has not begun."""
    overtaken: Annotated[
        tuple[Annotated[Overtaken, Field(strict=False)], ...],
        Field(strict=False, max_length=MAX_OVERTAKEN),
    ] = ()
    """The last commits that were due and lost to newer ones, oldest first."""
    forgotten: Annotated[int, Field(ge=0)] = 0
    """How many such commits are no longer listed."""
    begun: Annotated[str, Field(max_length=63)] | None = None
    """The build that began last of those that were wanted: released when it ends well, even if a
    newer one is due by then."""
    built: Annotated[str, Field(max_length=63)] | None = None
    """The last of them that had ended well when that one began."""


class AppStatus(rules.Model):
    """What was found of an App."""

    phase: Phase
    """The state in one word: Failed only if nothing serves."""
    observed_generation: Annotated[int, Field(ge=0)]
    """Generation of the App this status was made for."""
    active_revision: str | None = None
    """The revision that serves, like rev-3."""
    release: Annotated[Release, Field(strict=False)] | None = None
    """The newest release, serving or on its way."""
    history: Annotated[
        tuple[Annotated[Outcome, Field(strict=False)], ...],
        Field(strict=False),
        rules.Unique("number"),
    ] = ()
    """What became of the last releases, by number."""
    pre_deploy: Annotated[PreDeploy, Field(strict=False)] | None = None
    """The command that runs before a release serves."""
    queue: Annotated[Queue, Field(strict=False)] | None = None
    """Commits of the App's repository that have no build."""
    image: str | None = None
    """Image of the revision that serves."""
    url: str | None = None
    """Where the App answers."""
    urls: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """All addresses the App answers at."""
    replicas: int = 0
    """Pods there are, of any revision."""
    ready_replicas: int = 0
    """Pods of the newest revision that are ready."""
    selector: str | None = None
    """Label selector of the App's pods, for the scale subresource."""
    conditions: Annotated[
        tuple[Annotated[Condition, Field(strict=False)], ...],
        Field(strict=False),
        rules.Unique("type"),
    ] = ()
    """Everything known, one condition for each fact."""
