"""The first thing that keeps an App from being ready, and what would mend it.

Messages hold nothing that changes while the cause stays (counts, times, ports of a connection):
a message that moves is a status written for nothing.
"""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import app
from bex_operator.plan import capacity
from bex_operator.plan import pods as pods_plan

SLOW_START_SECONDS = 20
"""A start that takes longer is worth a word about its probe."""
SHORT_LIFE_SECONDS = 120
"""Whoever ends again and again within this time will not recover by itself."""
LAST_LINES = 3
LINE_LIMIT = 160

_IMAGE_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
_CONFIG_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
_IMAGE_CLASSES = (
    (
        ("not found", "manifest unknown", "name unknown", "does not exist"),
        "is not in its registry: check its name and tag",
    ),
    (
        ("unauthorized", "authorization", "denied", "forbidden", "401", "403"),
        "is refused by its registry: it does not exist or is not public",
    ),
    (
        ("dial tcp", "no such host", "timeout", "connection refused", "deadline", "eof"),
        "cannot be pulled: its registry does not answer",
    ),
    (("exec format", "no match for platform"), "is not built for this kind of machine"),
    (("invalidimagename", "couldn't parse image"), "has a name that no registry understands"),
)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an App is not ready."""

    reason: str
    message: str
    broken: bool
    """Nothing will become of it unless somebody changes something."""


def first(
    wanted: app.App,
    deployment: Mapping[str, Any] | None,
    current: Sequence[pods_plan.Pod],
    *,
    now: datetime.datetime,
    rooms: Sequence[capacity.Room] = (),
) -> Cause | None:
    """Return the first blocking cause among the pods of the newest revision.

    The order is that of a pod's way: refused, image, configuration, machine, crash, probe.
    """
    waiting = [pod for pod in current if not pod.ready]
    refused = _refused(deployment) if not current or waiting else None
    found = [refused] if refused else []
    for look in (_image, _configuration):
        found += [cause for pod in waiting for cause in look(wanted, pod)]
    found += [cause for pod in waiting for cause in _machine(wanted, pod, rooms)]
    found += [cause for pod in waiting for cause in _crash(wanted, pod)]
    found += [cause for pod in waiting for cause in _probe(wanted, pod, now)]
    return found[0] if found else None


def _refused(deployment: Mapping[str, Any] | None) -> Cause | None:
    conditions = (deployment or {}).get("status", {}).get("conditions") or []
    for condition in conditions:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            message = condition.get("message", "")
            if "exceeded quota" in message:
                return Cause("RolloutBlockedByQuota", f"the quota is used up: {message}", False)
            return Cause("PodsRefused", f"pods are refused: {message}", False)
    return None


def _image(wanted: app.App, pod: pods_plan.Pod) -> Iterator[Cause]:
    if pod.waiting not in _IMAGE_REASONS:
        return
    text = f"{pod.waiting} {pod.waiting_message}".lower()
    for words, meaning in _IMAGE_CLASSES:
        if any(word in text for word in words):
            yield Cause("ImagePullBackOff", f"image {wanted.image!r} {meaning}", True)
            return
    yield Cause("ImagePullBackOff", f"image {wanted.image!r} cannot be pulled", True)


def _configuration(_: app.App, pod: pods_plan.Pod) -> Iterator[Cause]:
    if pod.waiting in _CONFIG_REASONS:
        message = f"the container cannot be made: {pod.waiting_message}"
        yield Cause("CreateContainerConfigError", message, True)


def _machine(
    wanted: app.App, pod: pods_plan.Pod, rooms: Sequence[capacity.Room]
) -> Iterator[Cause]:
    if pod.unschedulable is None:
        return
    # What the scheduler tried after that is of no help to anybody.
    said = pod.unschedulable.partition(" preemption:")[0]
    room = capacity.describe(wanted, rooms) if rooms else ""
    message = f"{room} ({said})" if room else said
    yield Cause("Unschedulable", f"no machine has room: {message}", False)


def _crash(wanted: app.App, pod: pods_plan.Pod) -> Iterator[Cause]:
    if pod.last_exit is None:
        return
    end = pod.last_exit
    if end.reason == "Unknown":
        # What the kubelet says of containers that it finds dead after its machine was.
        yield Cause("Restarting", "the app ended with its machine and is started again", False)
        return
    if end.reason == "OOMKilled":
        message = "the app used more memory than it may; choose a larger tier or resources"
    elif end.code in {126, 127, 128} or end.reason == "StartError":
        message = f"the app cannot be started (exit code {end.code}); check image and command"
    elif end.code == 0:
        message = f"the app ends by itself; it must go on and listen on $PORT ({wanted.port})"
    else:
        message = (
            f"the app ends with exit code {end.code}; it must go on"
            f" and listen on $PORT ({wanted.port})"
        )
    lines = last_lines(end.message)
    yield Cause(
        "CrashLoopBackOff",
        f"{message}. Its last lines: {lines}" if lines else message,
        pod.restarts >= 2 and end.lasted_seconds < SHORT_LIFE_SECONDS,
    )


def _probe(wanted: app.App, pod: pods_plan.Pod, now: datetime.datetime) -> Iterator[Cause]:
    if pod.running_since is None:
        return
    if (now - pod.running_since).total_seconds() < SLOW_START_SECONDS:
        return
    if wanted.health_check_path is None:
        message = f"nothing accepts connections on port {wanted.port}; does the app use $PORT?"
    else:
        message = f"{wanted.health_check_path} on port {wanted.port} does not answer 2xx or 3xx"
    yield Cause("HealthCheckFailing", message, False)


def last_lines(text: str) -> str:
    """Return the last lines of what a container said, each cut."""
    lines = [line.strip()[:LINE_LIMIT] for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-LAST_LINES:])
