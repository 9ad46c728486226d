"""What is said about an App: facts from what was observed, a phase from the facts."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

from bex_operator.api import app, conditions, names, status
from bex_operator.api import hosts as hosts_api
from bex_operator.plan import causes, claims, history, releases, workload
from bex_operator.plan import pods as pods_plan

Fact = conditions.Fact


@dataclass(frozen=True, slots=True)
class Standing:
    """How the release whose pods run stands to the newest one."""

    newest: status.Release | None = None
    """The newest release; None if it is the one that runs."""
    held: causes.Cause | None = None
    """Why what the spec asks for does not run."""
    note: str | None = None
    """What is to be known of the newest release."""


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

    @property
    def generation(self) -> int:
        """Generation of the App's spec."""
        return int(self.manifest["metadata"].get("generation", 0))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason to leave everything as it is until somebody changes the App."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Addresses:
    """How an App's addresses are written; `{host}` stands for the host."""

    public: str = "https://{host}"
    base_domain: str | None = None
    """Where exposed Apps get a name; None if the platform has none to give."""


@dataclass(frozen=True, slots=True)
class _Rollout:
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
        if self.standing.held is not None:
            return False
        return self.ready >= self.wanted and self.settled and not self.leaving


def recorded(manifest: Mapping[str, Any]) -> status.AppStatus | None:
    """Read the status that an App object carries; None if there is none or it is garbled."""
    raw = manifest.get("status")
    if not raw:
        return None
    try:
        return status.AppStatus.model_validate(raw, by_alias=True, by_name=False)
    except pydantic.ValidationError:
        return None


def refused(observed: Observed, refusal: Refusal, *, now: datetime.datetime) -> status.AppStatus:
    """Report an App that cannot be acted on; what serves goes on serving."""
    before = recorded(observed.manifest)
    serving = any(pod.ready for pod in observed.pods)
    facts = [
        Fact(conditions.READY, False, refusal.reason, refusal.message),
        Fact(conditions.PROGRESSING, False, refusal.reason, "nothing is done until this is mended"),
    ]
    kept = before.model_dump(exclude={"conditions", "phase"}) if before else {}
    return status.AppStatus(
        **kept
        | {
            "observed_generation": observed.generation,
            "phase": "Running" if serving else "Failed",
            "replicas": len(observed.pods),
            "selector": _selector(observed),
            "conditions": conditions.merge(
                before.conditions if before else (),
                facts,
                generation=observed.generation,
                now=conditions.time_text(now),
            ),
        }
    )


def report(
    wanted: app.App,
    observed: Observed,
    release: status.Release,
    hosts: claims.Outcome,
    addresses: Addresses,
    *,
    now: datetime.datetime,
) -> status.AppStatus:
    """Report an App that the operator acts on."""
    before = recorded(observed.manifest)
    rollout = _rollout(wanted, observed, release, before, now)
    urls = _urls(wanted, observed, hosts.granted, addresses)
    facts = [
        _ready(wanted, rollout),
        _released(wanted, rollout),
        _progressing(wanted, rollout),
        _routed(hosts),
        _claimed(wanted, hosts, addresses),
        _degraded(wanted, observed, rollout),
    ]
    active, was = rollout.active, before or status.AppStatus(phase="Pending", observed_generation=0)
    return status.AppStatus(
        phase=_phase(wanted, observed, rollout),
        observed_generation=observed.generation,
        active_revision=rollout.revision if active else was.active_revision,
        release=observed.standing.newest or release,
        history=history.outcomes(was.history, _outcome(observed, rollout, release, was)),
        image=wanted.image if active else was.image,
        url=urls[0],
        urls=urls,
        replicas=len(observed.pods),
        ready_replicas=rollout.ready,
        selector=_selector(observed),
        conditions=conditions.merge(
            before.conditions if before else (),
            facts,
            generation=observed.generation,
            now=conditions.time_text(now),
        ),
    )


def recheck_seconds(observed: Observed, *, now: datetime.datetime) -> float | None:
    """When to look again although nothing may change: a slow start gets its word by then."""
    waits = [
        causes.SLOW_START_SECONDS - (now - pod.running_since).total_seconds()
        for pod in observed.pods
        if pod.running_since is not None and not pod.ready
    ]
    return min((wait + 0.5 for wait in waits if wait > 0), default=None)


def _rollout(
    wanted: app.App,
    observed: Observed,
    release: status.Release,
    before: status.AppStatus | None,
    now: datetime.datetime,
) -> _Rollout:
    revision = releases.revision(release)
    current = [pod for pod in observed.pods if pod.revision == revision]
    ready = sum(pod.ready for pod in current)
    count = workload.scale_of(wanted, observed.deployment)
    was_active = before is not None and before.active_revision == revision
    settled = _is_settled(observed.deployment, count)
    held = observed.standing.held
    return _Rollout(
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
    return held or causes.first(wanted, observed.deployment, current, now=now)


def _outcome(
    observed: Observed, rollout: _Rollout, release: status.Release, was: status.AppStatus
) -> status.Outcome | None:
    """Tell what became of the release that runs, once that is known."""
    if rollout.active:
        return status.Outcome(number=release.number, served=True)
    older = was.active_revision
    serves = any(pod.ready for pod in observed.pods if pod.revision == older)
    if observed.standing.held or not (rollout.late and rollout.wanted and serves):
        return None
    why = f": {rollout.cause.message}" if rollout.cause else ""
    message = f"{_late_message(rollout)}, {older} goes on serving{why}"
    return status.Outcome(number=release.number, served=False, message=message[:1000])


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


def _ready(wanted: app.App, rollout: _Rollout) -> Fact:
    count = f"{rollout.ready}/{rollout.wanted} replicas ready"
    if rollout.wanted == 0:
        field, reason = (
            ("spec.suspended is true", "Suspended")
            if wanted.suspended
            else ("spec.replicas is 0", "ScaledToZero")
        )
        return Fact(conditions.READY, False, reason, f"parked: {field}")
    if rollout.complete:
        return Fact(conditions.READY, True, "Deployed", count)
    if rollout.leaving:
        message = f"waits for the old {' and '.join(rollout.leaving)} to be gone"
        return Fact(conditions.READY, False, "ChildLeaving", message)
    if rollout.cause is not None:
        return Fact(conditions.READY, False, rollout.cause.reason, rollout.cause.message)
    if rollout.late:
        return Fact(conditions.READY, False, "ProgressDeadlineExceeded", _late_message(rollout))
    reason = "Scaling" if rollout.active else "RolloutProgressing"
    return Fact(conditions.READY, False, reason, count)


def _released(wanted: app.App, rollout: _Rollout) -> Fact:
    held, note = rollout.standing.held, rollout.standing.note
    noted = f"; {note}" if note else ""
    if held is not None:
        return Fact(conditions.RELEASED, False, held.reason, held.message)
    if rollout.active:
        return Fact(conditions.RELEASED, True, "Released", f"{rollout.revision} serves{noted}")
    if workload.replicas_of(wanted) == 0:
        message = f"{rollout.revision} is released when the App runs again"
        return Fact(conditions.RELEASED, False, "Parked", message)
    if rollout.late:
        return Fact(conditions.RELEASED, False, "ProgressDeadlineExceeded", _late_message(rollout))
    message = f"{rollout.revision} is on its way{noted}"
    return Fact(conditions.RELEASED, False, "RollingOut", message)


def _progressing(wanted: app.App, rollout: _Rollout) -> Fact:
    if workload.replicas_of(wanted) == 0:
        return Fact(conditions.PROGRESSING, False, "Parked", "nothing is to run")
    if rollout.complete:
        return Fact(conditions.PROGRESSING, False, "Settled", "everything is as asked for")
    if rollout.late or (rollout.cause is not None and rollout.cause.broken):
        reason = rollout.cause.reason if rollout.cause else "ProgressDeadlineExceeded"
        return Fact(conditions.PROGRESSING, False, reason, "waits for a change that mends it")
    return Fact(conditions.PROGRESSING, True, "RollingOut", f"{rollout.revision} is starting")


def _routed(hosts: claims.Outcome) -> Fact:
    if hosts.granted:
        return Fact(conditions.ROUTED, True, "Routed", f"hosts: {_listed(hosts.granted)}")
    return Fact(conditions.ROUTED, False, "NoPublicHost", "reached inside the cluster only")


def _claimed(wanted: app.App, hosts: claims.Outcome, addresses: Addresses) -> Fact:
    if hosts.lost:
        taken = "; ".join(_loss(loss) for loss in hosts.lost)
        return Fact(conditions.HOSTS_CLAIMED, False, _loss_reason(hosts.lost), taken)
    if wanted.expose and addresses.base_domain is None:
        message = "spec.expose: this platform has no base domain to give a name under"
        return Fact(conditions.HOSTS_CLAIMED, False, "NoBaseDomain", message)
    message = "every host is the App's own" if hosts.granted else "no host is asked for"
    return Fact(conditions.HOSTS_CLAIMED, True, "Claimed", message)


def _loss_reason(lost: Sequence[claims.Loss]) -> str:
    return "HostReserved" if all(loss.winner is None for loss in lost) else "HostTaken"


def _loss(loss: claims.Loss) -> str:
    if loss.winner is None:
        return f"host {loss.host!r} is reserved for the platform"
    winner = f"App {loss.winner.namespace}/{loss.winner.name}"
    if loss.over == loss.host:
        return f"host {loss.host!r} belongs to {winner}"
    return f"host {loss.host!r} overlaps with {loss.over!r}, which belongs to {winner}"


def _degraded(wanted: app.App, observed: Observed, rollout: _Rollout) -> Fact:
    if rollout.serving and rollout.cause is not None and workload.replicas_of(wanted):
        message = f"it serves, but: {rollout.cause.message}"
        return Fact(conditions.DEGRADED, True, rollout.cause.reason, message)
    if workload.is_autoscaled(wanted) and _is_blind(observed.autoscaler):
        message = "replicas follow no load: the autoscaler gets no CPU metrics of the pods"
        return Fact(conditions.DEGRADED, True, "AutoscalerWithoutMetrics", message)
    return Fact(conditions.DEGRADED, False, "AsExpected", "nothing is known to be wrong")


def _is_blind(autoscaler: Mapping[str, Any] | None) -> bool:
    found = (autoscaler or {}).get("status", {}).get("conditions") or []
    return any(
        each["type"] == "ScalingActive"
        and each["status"] == "False"
        and each.get("reason") == "FailedGetResourceMetric"
        for each in found
    )


def _phase(wanted: app.App, observed: Observed, rollout: _Rollout) -> status.Phase:
    """Say it in one word; Failed only if nothing serves."""
    if workload.replicas_of(wanted) == 0:
        return "Hibernated"
    stuck = rollout.late or (rollout.cause is not None and rollout.cause.broken)
    if rollout.complete or (rollout.serving and (rollout.active or stuck)):
        return "Running"
    if stuck and not rollout.serving:
        return "Failed"
    return "Deploying"


def _late_message(rollout: _Rollout) -> str:
    minutes = workload.ROLLOUT_SECONDS // 60
    return f"{rollout.revision} did not become ready within {minutes} minutes"


def _urls(
    wanted: app.App, observed: Observed, granted: Sequence[str], addresses: Addresses
) -> tuple[str, ...]:
    """Write every address, one that can be opened as it stands in front."""
    inside = _inside(wanted, observed)
    plain = [host for host in granted if not host.startswith(hosts_api.WILDCARD)]
    wildcards = [host for host in granted if host not in plain]
    first = [addresses.public.replace("{host}", host) for host in plain] or [inside]
    return (*first, *(addresses.public.replace("{host}", host) for host in wildcards))


def _inside(wanted: app.App, observed: Observed) -> str:
    metadata = observed.manifest["metadata"]
    return f"http://{metadata['name']}.{metadata['namespace']}.svc:{wanted.port}"


def _selector(observed: Observed) -> str:
    return f"{names.APP_LABEL}={observed.manifest['metadata']['name']}"


def _listed(hosts: Sequence[str]) -> str:
    shown = ", ".join(hosts[:5])
    return shown if len(hosts) <= 5 else f"{shown} and {len(hosts) - 5} more"
