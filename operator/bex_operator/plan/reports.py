"""What is said about an App: facts from what was observed, a phase from the facts."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

from bex_operator.api import app, conditions, names, status
from bex_operator.api import hosts as hosts_api
from bex_operator.plan import (
    capacity,
    causes,
    claims,
    facts,
    history,
    pods,
    predeploy,
    rollouts,
    workload,
)

Fact = conditions.Fact


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason to leave everything as it is until somebody changes the App."""

    reason: str
    message: str
    phase: status.Phase = "Failed"
    """While nothing serves; another one than Failed if nothing is wrong yet."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """How an App's addresses are written; `{host}` stands for the host."""

    public: str = "https://{host}"
    base_domain: str | None = None
    """Where exposed Apps get a name; None if the platform has none to give."""


def recorded(manifest: Mapping[str, Any]) -> status.AppStatus | None:
    """Read the status that an App object carries; None if there is none or it is garbled."""
    raw = manifest.get("status")
    if not raw:
        return None
    try:
        return status.AppStatus.model_validate(raw, by_alias=True, by_name=False)
    except pydantic.ValidationError:
        return None


def refused(
    observed: rollouts.Observed,
    refusal: Refusal,
    before: status.AppStatus | None,
    *,
    now: datetime.datetime,
) -> status.AppStatus:
    """Report an App that cannot be acted on; what serves goes on serving."""
    serving = any(pod.ready for pod in observed.pods)
    wrong = refusal.phase == "Failed"
    next_ = "nothing is done until this is mended" if wrong else refusal.message
    found = [
        Fact(conditions.READY, False, refusal.reason, refusal.message),
        Fact(
            conditions.PROGRESSING,
            refusal.phase in {"Building", "Deploying"},
            refusal.reason,
            next_,
        ),
    ]
    was = before.conditions if before else ()
    told = {each.type for each in found}
    kept = before.model_dump(exclude={"conditions", "phase"}) if before else {}
    return status.AppStatus(
        **kept
        | {
            "observed_generation": observed.generation,
            "phase": "Running" if serving else refusal.phase,
            **_of_newest(observed, before, conditions.time_text(now)),
            "queue": _queue(observed, before),
            "replicas": len(observed.pods),
            "selector": _selector(observed),
            "conditions": (
                *conditions.merge(
                    was, found, generation=observed.generation, now=conditions.time_text(now)
                ),
                # What was found before of everything else: its generation says that it is old.
                *(each for each in was if each.type not in told),
            ),
        }
    )


def report(
    wanted: app.App,
    observed: rollouts.Observed,
    release: status.Release,
    hosts: claims.Outcome,
    addresses: Addresses,
    before: status.AppStatus | None,
    *,
    now: datetime.datetime,
) -> status.AppStatus:
    """Report an App that the operator acts on; *before* is what was reported last."""
    at = conditions.time_text(now)
    rollout = rollouts.measure(wanted, observed, release, before, now)
    urls = _urls(wanted, observed, hosts.granted, addresses)
    found = [
        facts.ready(wanted, rollout, hosts, observed.lacking or ()),
        facts.released(wanted, rollout),
        facts.progressing(wanted, rollout),
        facts.routed(hosts),
        facts.claimed(wanted, hosts, addresses.base_domain),
        *facts.certified(hosts, observed.lacking),
        facts.degraded(wanted, observed, rollout, hosts),
        *facts.sleeps(wanted),
    ]
    active, was = rollout.active, before or status.AppStatus(phase="Pending", observed_generation=0)
    return status.AppStatus(
        phase=_phase(wanted, observed, rollout),
        observed_generation=observed.generation,
        active_revision=rollout.revision if active else was.active_revision,
        release=observed.standing.newest or release,
        pre_deploy=observed.standing.pre_deploy or was.pre_deploy,
        history=history.outcomes(
            was.history,
            _outcome(observed, rollout, release, was),
            _unprepared(observed.standing),
            now=at,
        ),
        queue=_queue(observed, before),
        image=wanted.image if active else was.image,
        url=urls[0],
        urls=urls,
        replicas=len(observed.pods),
        ready_replicas=rollout.ready,
        selector=_selector(observed),
        conditions=conditions.merge(
            before.conditions if before else (),
            found,
            generation=observed.generation,
            now=at,
        ),
    )


def recheck_seconds(observed: rollouts.Observed, *, now: datetime.datetime) -> float | None:
    """When to look again although nothing may change: a slow start gets its word by then."""
    waits = [
        causes.SLOW_START_SECONDS - (now - pod.running_since).total_seconds()
        for pod in observed.pods
        if pod.running_since is not None and not pod.ready
    ]
    if rollouts.waits_for_room(observed):
        waits.append(capacity.RECHECK_SECONDS)
    return min((wait + 0.5 for wait in waits if wait > 0), default=None)


def _of_newest(
    observed: rollouts.Observed, before: status.AppStatus | None, now: str
) -> dict[str, Any]:
    """Tell of a newest release that does not run, as far as anything is known of it."""
    standing = observed.standing
    past = history.outcomes(before.history if before else (), _unprepared(standing), now=now)
    found = {"release": standing.newest, "pre_deploy": standing.pre_deploy, "history": past}
    return {field: value for field, value in found.items() if value}


def _queue(observed: rollouts.Observed, before: status.AppStatus | None) -> status.Queue | None:
    """Tell what waits to be built; an empty queue is none."""
    known = observed.standing.queue
    if known is None:
        return before.queue if before else None
    return known if known != status.Queue() else None


def _unprepared(standing: rollouts.Standing) -> status.Outcome | None:
    """Tell of a release that is given up because its pre-deploy command failed."""
    ran = standing.pre_deploy
    if ran is None or ran.state != "Failed":
        return None
    return status.Outcome(
        number=ran.number, served=False, reason=predeploy.FAILED_REASON, message=ran.message
    )


def _outcome(
    observed: rollouts.Observed,
    rollout: rollouts.Rollout,
    release: status.Release,
    was: status.AppStatus,
) -> status.Outcome | None:
    """Tell what became of the release that runs, once that is known."""
    if rollout.active:
        return status.Outcome(
            number=release.number, served=True, **_times(observed.pods, rollout.revision)
        )
    older = was.active_revision
    serves = any(pod.ready for pod in observed.pods if pod.revision == older)
    if observed.standing.held or not (rollout.late and rollout.wanted and serves):
        return None
    why = f": {rollout.cause.message}" if rollout.cause else ""
    message = f"{rollouts.late_message(rollout)}, {older} goes on serving{why}"
    return status.Outcome(number=release.number, served=False, message=message[:1000])


def _times(seen: Sequence[pods.Pod], revision: str) -> dict[str, str | None]:
    """Say how far the pod that was ready last came when."""
    ready = [each for each in seen if each.revision == revision and each.ready_at is not None]
    if not ready:
        return {}
    last = max(ready, key=lambda each: each.ready_at or "")
    started = conditions.time_text(last.running_since) if last.running_since else None
    return {"placed_at": last.placed_at, "started_at": started, "ready_at": last.ready_at}


def _phase(wanted: app.App, observed: rollouts.Observed, rollout: rollouts.Rollout) -> status.Phase:
    """Say it in one word; Failed only if nothing serves."""
    if workload.replicas_of(wanted) == 0:
        return "Hibernated"
    stuck = rollout.late or (rollout.cause is not None and rollout.cause.broken)
    if rollout.complete or (rollout.serving and (rollout.active or stuck)):
        return "Running"
    if stuck and not rollout.serving:
        return "Failed"
    return "Building" if rollout.standing.building else "Deploying"


def _urls(
    wanted: app.App, observed: rollouts.Observed, granted: Sequence[str], addresses: Addresses
) -> tuple[str, ...]:
    """Write every address, one that can be opened as it stands in front."""
    inside = _inside(wanted, observed)
    plain = [host for host in granted if not host.startswith(hosts_api.WILDCARD)]
    wildcards = [host for host in granted if host not in plain]
    first = [addresses.public.replace("{host}", host) for host in plain] or [inside]
    return (*first, *(addresses.public.replace("{host}", host) for host in wildcards))


def _inside(wanted: app.App, observed: rollouts.Observed) -> str:
    metadata = observed.manifest["metadata"]
    return f"http://{metadata['name']}.{metadata['namespace']}.svc:{wanted.port}"


def _selector(observed: rollouts.Observed) -> str:
    return f"{names.APP_LABEL}={observed.manifest['metadata']['name']}"
