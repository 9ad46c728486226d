"""How far an App's newest release is: what was observed, measured against what is asked for."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import app, status
from bex_operator.plan import capacity, causes, certificates, containers, releases, workload
from bex_operator.plan import pods as pods_plan


@dataclass(frozen=True, slots=True)
class Standing:
    """How the release whose pods run stands to the newest one."""

    newest: status.Release | None = None
    """The newest release; None if it is the one that runs."""
    held: causes.Cause | None = None
    """Why what the spec asks for does not run."""
    building: bool = False
    """It does not run because its image is being made."""
    note: str | None = None
    """What is to be known of the newest release."""
    pre_deploy: status.PreDeploy | None = None
    """The command that runs before the newest release serves."""
    queue: status.Queue | None = None
    """What waits to be built; None if that is as it was reported last."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What there is of an App in the cluster."""

    manifest: Mapping[str, Any]
    """The App object."""
    deployment: Mapping[str, Any] | None
    pods: Sequence[pods_plan.Pod]
    autoscaler: Mapping[str, Any] | None = None
    leaving: Sequence[str] = ()
    """Kinds of children that are on their way out and must be gone before they are made anew."""
    standing: Standing = Standing()
    rooms: Sequence[capacity.Room] = ()
    """The machines, if a pod waits for room on one."""
    lacking: Sequence[certificates.Lack] | None = None
    """Hosts without their certificate; None where none are kept for each host."""

    @property
    def generation(self) -> int:
        """Generation of the App's spec."""
        return int(self.manifest["metadata"].get("generation", 0))


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far the newest release is."""

    revision: str
    wanted: int
    ready: int
    serving: int
    active: bool
    """The newest release is the one that serves (or would, were it not parked)."""
    late: bool
    settled: bool
    """The Deployment's controller has taken in what was asked of it."""
    leaving: Sequence[str]
    cause: causes.Cause | None
    standing: Standing

    @property
    def complete(self) -> bool:
        """Everything is as asked for."""
        if self.standing.held is not None:
            return False
        return self.ready >= self.wanted and self.settled and not self.leaving


def waits_for_room(observed: Observed) -> bool:
    """Tell whether no machine takes a pod."""
    return any(pod.unschedulable is not None for pod in observed.pods)


def measure(
    wanted: app.App,
    observed: Observed,
    release: status.Release,
    before: status.AppStatus | None,
    now: datetime.datetime,
) -> Rollout:
    """Measure the release that runs; *before* is what was reported last."""
    revision = releases.revision(release)
    current = [pod for pod in observed.pods if pod.revision == revision]
    ready = sum(pod.ready for pod in current)
    count = workload.scale_of(wanted, observed.deployment)
    was_active = before is not None and before.active_revision == revision
    settled = _is_settled(observed.deployment, count)
    held = observed.standing.held
    return Rollout(
        revision=revision,
        wanted=count,
        ready=ready,
        serving=sum(pod.ready for pod in observed.pods),
        active=was_active or (count > 0 and ready >= count and settled),
        late=_is_late(observed.deployment),
        settled=settled,
        leaving=observed.leaving,
        cause=_cause(wanted, observed, current, now) if ready < count else held,
        standing=observed.standing,
    )


def _cause(
    wanted: app.App, observed: Observed, current: Sequence[pods_plan.Pod], now: datetime.datetime
) -> causes.Cause | None:
    held = observed.standing.held
    return held or causes.first(wanted, observed.deployment, current, now=now, rooms=observed.rooms)


def _is_settled(deployment: Mapping[str, Any] | None, count: int) -> bool:
    """Tell whether the newest pods are of the newest template.

    Pods carry the revision, but somebody else's edit of the Deployment makes other pods with it.
    """
    if deployment is None:
        return False
    found = deployment.get("status", {})
    generation = int(deployment["metadata"].get("generation", 0))
    seen = int(found.get("observedGeneration") or 0) >= generation
    return seen and int(found.get("updatedReplicas") or 0) >= count


def _is_late(deployment: Mapping[str, Any] | None) -> bool:
    """Tell whether the rollout takes too long; what was said of an earlier one does not count."""
    if deployment is None:
        return False
    seen = int(deployment.get("status", {}).get("observedGeneration") or 0)
    if seen < int(deployment["metadata"].get("generation", 0)):
        return False
    found = deployment.get("status", {}).get("conditions") or []
    return any(
        each["type"] == "Progressing" and each.get("reason") == "ProgressDeadlineExceeded"
        for each in found
    )


def late_message(rollout: Rollout) -> str:
    """Say that the release missed its deadline."""
    minutes = containers.ROLLOUT_SECONDS // 60
    return f"{rollout.revision} did not become ready within {minutes} minutes"
