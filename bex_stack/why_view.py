"""Why an app is as it is: the whole chain from its conditions over its objects to its pods.

`observe` reads the cluster, `chain` decides what is worth saying, `render` lays it out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import console as consoles
from rich import text

from bex_operator import api
from bex_operator.api import names
from bex_operator.kube import client as kube
from bex_operator.kube import errors as kube_errors
from bex_operator.kube import kinds
from bex_stack import app_access, targets

Object = Mapping[str, Any]

BAD_IF_TRUE = frozenset({"Degraded", "DeletionStalled"})
NEITHER = frozenset({"Progressing"})
"""Conditions that may hold or not while all is well."""
"""Conditions that report trouble when they hold; every other one when it does not."""
LAST_EVENTS = 3
LAST_LINES = 5
SIGNS = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "dim")}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the cluster holds of one app."""

    app: Object
    deployment: Object | None = None
    pods: Sequence[Object] = ()
    events: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    """Warnings by the UID of what they are about, oldest first."""
    last_lines: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of pods that are not ready, by name: what their last container said at its end."""


@dataclass(frozen=True, slots=True)
class Link:
    """One fact; *depth* says under which it belongs."""

    depth: int
    good: bool | None
    """None: neither good nor bad."""
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return the link as plain JSON."""
        return asdict(self)


async def observe(target: targets.Target, name: str) -> Seen:
    """Read the app and everything below it."""
    async with app_access.client(target) as cluster:
        app = await app_access.read(cluster, name)
        try:
            deployment = await cluster.get(kinds.DEPLOYMENT, name, api.NAMESPACE)
        except kube_errors.NotFound:
            deployment = None
        pods = await app_access.pods(cluster, name)
        found = await cluster.list(kinds.EVENT, api.NAMESPACE, fields="type=Warning")
        lines = {
            pod["metadata"]["name"]: await _last_lines(cluster, pod)
            for pod in pods
            if not app_access.is_pod_ready(pod)
        }
    return Seen(app, deployment, pods, _by_subject(found.items), lines)


async def _last_lines(cluster: kube.Client, pod: Object) -> list[str]:
    """The end of the log of the container that ended last, else of the one that runs."""
    path = kinds.POD.path(api.NAMESPACE, pod["metadata"]["name"], "log")
    params = {"container": names.CONTAINER, "tailLines": str(LAST_LINES)}
    for previous in ({"previous": "true"}, {}):
        try:
            answer = await cluster.request("GET", path, params=params | previous)
        except (kube_errors.BadRequest, kube_errors.NotFound):
            continue
        return str(answer).splitlines()
    return []


def _by_subject(events: Sequence[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for event in sorted(events, key=_time):
        found.setdefault(event.get("regarding", {}).get("uid", ""), []).append(event)
    return found


def _time(event: Object) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("eventTime")
        or event.get("deprecatedLastTimestamp")
        or ""
    )


def chain(seen: Seen) -> list[Link]:
    """Say everything that bears on the app's state, from its address down to its pods."""
    status = seen.app.get("status", {})
    phase = status.get("phase", "Pending")
    serving = status.get("activeRevision", "nothing")
    links = [
        Link(
            0,
            phase == "Running" or None,
            f"{seen.app['metadata']['name']}: {phase}, {serving} serves",
        )
    ]
    links += [Link(1, True, f"answers at {url}") for url in status.get("urls") or []]
    links += _conditions(status.get("conditions") or [])
    links += _events(seen, seen.app, 1)
    links += _deployment(seen)
    links += [link for pod in seen.pods for link in _pod(seen, pod)]
    return links


def render(links: Sequence[Link]) -> consoles.Group:
    """Lay the chain out, one fact per line."""
    lines = []
    for link in links:
        sign, colour = SIGNS[link.good]
        lines.append(text.Text.assemble("  " * link.depth, (f"{sign} ", colour), link.text))
    return consoles.Group(*lines)


def _conditions(conditions: Sequence[Object]) -> Iterator[Link]:
    """What is wrong comes first, and of the rest only what has something to say."""
    judged = [(_is_good(each), each) for each in conditions]
    for good, each in sorted(judged, key=lambda pair: (False, None, True).index(pair[0])):
        said = f"{each['type']}: {each['reason']}"
        yield Link(1, good, f"{said}: {each['message']}" if each["message"] else said)


def _is_good(condition: Object) -> bool | None:
    if condition["type"] in NEITHER:
        return None
    holds: bool = condition["status"] == "True"
    return holds != (condition["type"] in BAD_IF_TRUE)


def _deployment(seen: Seen) -> Iterator[Link]:
    if seen.deployment is None:
        yield Link(1, None, "there is no Deployment")
        return
    status, wanted = seen.deployment.get("status", {}), seen.deployment["spec"].get("replicas", 0)
    ready = status.get("readyReplicas", 0)
    yield Link(1, ready >= wanted, f"Deployment: {ready} of {wanted} pods ready")
    for condition in status.get("conditions") or []:
        if (condition["status"] == "True") == (condition["type"] == "ReplicaFailure"):
            yield Link(2, False, f"{condition['type']}: {condition.get('message', '')}")
    yield from _events(seen, seen.deployment, 2)


def _pod(seen: Seen, pod: Object) -> Iterator[Link]:
    metadata, status = pod["metadata"], pod.get("status", {})
    ready = app_access.is_pod_ready(pod)
    where = pod["spec"].get("nodeName") or "no machine"
    revision = metadata.get("labels", {}).get(names.REVISION_LABEL, "?")
    ending = ", on its way out" if "deletionTimestamp" in metadata else ""
    state = "ready" if ready else "not ready"
    yield Link(1, ready, f"pod {metadata['name']} ({revision}) on {where}: {state}{ending}")
    if ready:
        return
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            yield Link(2, False, f"not placed: {condition.get('message', '')}")
    for container in status.get("containerStatuses") or []:
        yield from _container(container)
    for line in seen.last_lines.get(metadata["name"], ()):
        yield Link(3, None, line)
    yield from _events(seen, pod, 2)


def _container(container: Object) -> Iterator[Link]:
    waiting = container.get("state", {}).get("waiting")
    if waiting:
        yield Link(2, False, f"waits: {waiting.get('reason')}: {waiting.get('message', '')}")
    for state in ("state", "lastState"):
        ended = container.get(state, {}).get("terminated")
        if ended:
            restarts = container.get("restartCount", 0)
            said = f"ended with exit code {ended.get('exitCode')} ({ended.get('reason')})"
            yield Link(2, False, f"{said}, {restarts} restarts; its last lines:")
            return


def _events(seen: Seen, subject: Object, depth: int) -> Iterator[Link]:
    """The last warnings about *subject*, each message once."""
    found = seen.events.get(subject["metadata"]["uid"], ())
    said = {event.get("note", ""): event for event in found}  # the latest of equal ones
    for note, event in list(said.items())[-LAST_EVENTS:]:
        yield Link(depth, False, f"{event.get('reason')}: {note}")
