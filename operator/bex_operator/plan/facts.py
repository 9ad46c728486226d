"""The facts about an App that become its conditions, one function for each."""

from collections.abc import Mapping, Sequence
from typing import Any

from bex_operator.api import app, conditions
from bex_operator.plan import certificates, claims, rollouts, workload

Fact = conditions.Fact


def ready(
    wanted: app.App,
    rollout: rollouts.Rollout,
    hosts: claims.Outcome,
    lacking: Sequence[certificates.Lack] = (),
) -> Fact:
    """Every wanted replica of the newest revision serves."""
    count = f"{rollout.ready}/{rollout.wanted} replicas ready"
    if rollout.wanted == 0:
        field, reason = (
            ("spec.suspended is true", "Suspended")
            if wanted.suspended
            else ("spec.replicas is 0", "ScaledToZero")
        )
        return Fact(conditions.READY, False, reason, f"parked: {field}")
    if rollout.complete:
        # It serves; what it lacks is told all the same, where people look first.
        message = "; ".join([count, *map(_loss, hosts.lost), *(each.message for each in lacking)])
        return Fact(conditions.READY, True, "Deployed", message)
    if rollout.leaving:
        message = f"waits for the old {' and '.join(rollout.leaving)} to be gone"
        return Fact(conditions.READY, False, "ChildLeaving", message)
    if rollout.cause is not None:
        return Fact(conditions.READY, False, rollout.cause.reason, rollout.cause.message)
    if rollout.late:
        return Fact(
            conditions.READY, False, "ProgressDeadlineExceeded", rollouts.late_message(rollout)
        )
    reason = "Scaling" if rollout.active else "RolloutProgressing"
    return Fact(conditions.READY, False, reason, count)


def released(wanted: app.App, rollout: rollouts.Rollout) -> Fact:
    """The newest revision is the one that serves."""
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
        return Fact(
            conditions.RELEASED, False, "ProgressDeadlineExceeded", rollouts.late_message(rollout)
        )
    message = f"{rollout.revision} is on its way{noted}"
    return Fact(conditions.RELEASED, False, "RollingOut", message)


def progressing(wanted: app.App, rollout: rollouts.Rollout) -> Fact:
    """Something is still on its way without anyone's help."""
    if workload.replicas_of(wanted) == 0:
        return Fact(conditions.PROGRESSING, False, "Parked", "nothing is to run")
    if rollout.complete:
        return Fact(conditions.PROGRESSING, False, "Settled", "everything is as asked for")
    held = rollout.standing.held
    if held is not None and not held.broken:
        return Fact(conditions.PROGRESSING, True, held.reason, held.message)
    if rollout.late or (rollout.cause is not None and rollout.cause.broken):
        reason = rollout.cause.reason if rollout.cause else "ProgressDeadlineExceeded"
        return Fact(conditions.PROGRESSING, False, reason, "waits for a change that mends it")
    return Fact(conditions.PROGRESSING, True, "RollingOut", f"{rollout.revision} is starting")


def sleeps(wanted: app.App) -> tuple[Fact, ...]:
    """Tell of an App that is to sleep when idle that it will not."""
    if not wanted.idle_ttl_seconds:
        return ()
    message = "spec.idleTTLSeconds has no effect yet: nothing would wake the App up"
    return (Fact(conditions.IDLE_SLEEP, False, "NotSupportedYet", message),)


def routed(hosts: claims.Outcome) -> Fact:
    """The App's hosts lead to it."""
    if hosts.granted:
        return Fact(conditions.ROUTED, True, "Routed", f"hosts: {_listed(hosts.granted)}")
    return Fact(conditions.ROUTED, False, "NoPublicHost", "reached inside the cluster only")


def claimed(wanted: app.App, hosts: claims.Outcome, base_domain: str | None) -> Fact:
    """Every host the App asks for is its own."""
    if hosts.lost:
        taken = "; ".join(_loss(loss) for loss in hosts.lost)
        return Fact(conditions.HOSTS_CLAIMED, False, _loss_reason(hosts.lost), taken)
    if wanted.expose and base_domain is None:
        message = "spec.expose: this platform has no base domain to give a name under"
        return Fact(conditions.HOSTS_CLAIMED, False, "NoBaseDomain", message)
    message = "every host is the App's own" if hosts.granted else "no host is asked for"
    return Fact(conditions.HOSTS_CLAIMED, True, "Claimed", message)


def certified(
    hosts: claims.Outcome, lacking: Sequence[certificates.Lack] | None
) -> tuple[Fact, ...]:
    """Every host has its certificate."""
    if lacking is None:
        return ()
    if lacking:
        message = "; ".join(each.message for each in lacking)
        return (Fact(conditions.CERTIFIED, False, _lack_reason(lacking), message),)
    message = "every host has its certificate" if hosts.granted else "no host needs one"
    return (Fact(conditions.CERTIFIED, True, "Certified", message),)


def _lack_reason(lacking: Sequence[certificates.Lack]) -> str:
    failed = any(each.failed for each in lacking)
    return "CertificateFailed" if failed else "CertificatePending"


def _loss_reason(lost: Sequence[claims.Loss]) -> str:
    return "HostReserved" if all(loss.winner is None for loss in lost) else "HostTaken"


def _loss(loss: claims.Loss) -> str:
    if loss.winner is None:
        return f"host {loss.host!r} is reserved for the platform"
    winner = f"App {loss.winner.namespace}/{loss.winner.name}"
    if loss.over == loss.host:
        return f"host {loss.host!r} belongs to {winner}"
    return f"host {loss.host!r} overlaps with {loss.over!r}, which belongs to {winner}"


def degraded(
    wanted: app.App, observed: rollouts.Observed, rollout: rollouts.Rollout, hosts: claims.Outcome
) -> Fact:
    """It serves, but with less than was asked for."""
    held = rollout.standing.held
    waits = held is not None and not held.broken
    if rollout.serving and rollout.cause is not None and not waits and workload.replicas_of(wanted):
        message = f"it serves, but: {rollout.cause.message}"
        return Fact(conditions.DEGRADED, True, rollout.cause.reason, message)
    if hosts.lost and rollout.serving:
        message = f"it serves, but: {'; '.join(map(_loss, hosts.lost))}"
        return Fact(conditions.DEGRADED, True, _loss_reason(hosts.lost), message)
    failed = [each for each in observed.lacking or () if each.failed]
    if failed and rollout.serving:
        message = f"it serves, but: {'; '.join(each.message for each in failed)}"
        return Fact(conditions.DEGRADED, True, _lack_reason(failed), message)
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


def _listed(hosts: Sequence[str]) -> str:
    shown = ", ".join(hosts[:5])
    return shown if len(hosts) <= 5 else f"{shown} and {len(hosts) - 5} more"
