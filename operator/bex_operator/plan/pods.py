"""Reads Pods into what the operator needs to know of them."""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bex_operator.api import names


@dataclass(frozen=True, slots=True)
class Exit:
    """How the container ended last."""

    code: int
    reason: str
    message: str
    """Its last lines, if it failed."""
    lasted_seconds: float
    """How long it had run."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of an App."""

    name: str
    revision: str
    ready: bool
    unschedulable: str | None
    """The scheduler's words, if no machine takes it."""
    waiting: str
    """Why the container does not run; empty if it does."""
    waiting_message: str
    last_exit: Exit | None
    """Set while the container is not ready again after it ended."""
    restarts: int
    running_since: datetime.datetime | None
    ended: bool = False
    """It will not run again."""
    placed_at: str | None = None
    """When it got a machine."""
    ready_at: str | None = None
    """Since when it is ready, if it is."""


def read(manifests: Iterable[Mapping[str, Any]]) -> tuple[Pod, ...]:
    """Read pods that count: not being deleted, not finished; by name."""
    counted = (each for each in manifests if "deletionTimestamp" not in each["metadata"])
    return tuple(each for each in read_all(counted) if not each.ended)


def read_all(manifests: Iterable[Mapping[str, Any]]) -> tuple[Pod, ...]:
    """Read all pods, by name."""
    return tuple(sorted(map(_pod, manifests), key=lambda pod: pod.name))


def slim(manifest: dict[str, Any]) -> dict[str, Any]:
    """Keep of a Pod only what `read` looks at: there may be very many of them."""
    metadata, status = manifest["metadata"], manifest.get("status", {})
    kept = ("name", "namespace", "uid", "labels", "resourceVersion", "deletionTimestamp")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "status": {
            key: status[key]
            for key in ("phase", "conditions", "containerStatuses")
            if key in status
        },
    }


def _pod(manifest: Mapping[str, Any]) -> Pod:
    metadata, status = manifest["metadata"], manifest.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled", {})
    container = _container(status)
    ready = conditions.get("Ready", {}).get("status") == "True"
    waiting = container.get("state", {}).get("waiting") or {}
    return Pod(
        name=metadata["name"],
        revision=metadata.get("labels", {}).get(names.REVISION_LABEL, ""),
        ready=ready,
        unschedulable=(
            scheduled.get("message") or "no message"
            if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
            else None
        ),
        waiting=waiting.get("reason") or "",
        waiting_message=waiting.get("message") or "",
        last_exit=None if ready else _last_exit(container),
        restarts=int(container.get("restartCount") or 0),
        running_since=_running_since(container),
        ended=status.get("phase") in {"Succeeded", "Failed"},
        placed_at=scheduled.get("lastTransitionTime"),
        ready_at=conditions["Ready"].get("lastTransitionTime") if ready else None,
    )


def _container(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for container in status.get("containerStatuses") or []:
        if container.get("name") == names.CONTAINER:
            return dict(container)
    return {}


def _last_exit(container: Mapping[str, Any]) -> Exit | None:
    for state in ("state", "lastState"):
        end = container.get(state, {}).get("terminated")
        if end:
            return Exit(
                int(end.get("exitCode") or 0),
                end.get("reason") or "",
                end.get("message") or "",
                _seconds_between(end.get("startedAt"), end.get("finishedAt")),
            )
    return None


def _seconds_between(start: str | None, end: str | None) -> float:
    """0 where the kubelet does not know."""
    if not start or not end:
        return 0.0
    read = datetime.datetime.fromisoformat
    return (read(end) - read(start)).total_seconds()


def _running_since(container: Mapping[str, Any]) -> datetime.datetime | None:
    started = container.get("state", {}).get("running", {}).get("startedAt")
    return datetime.datetime.fromisoformat(started) if started else None
