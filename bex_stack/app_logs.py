"""The log of an app, or of the operator: the lines of all its pods as one stream, each with its
pod's name."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from rich import text

from bex_operator import api
from bex_operator.api import names
from bex_operator.kube import client as kube
from bex_operator.kube import errors as kube_errors
from bex_operator.kube import kinds
from bex_stack import app_access, errors, targets
from components.manifests import operator_pod

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red")
LOOK_SECONDS = 2.0
"""How often a followed app is looked at for pods that are new."""

Write = Callable[[text.Text], None]


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One line of one pod."""

    time: str
    """RFC 3339 with nanoseconds: sorts as text."""
    pod: str
    content: str


@dataclass(frozen=True, slots=True)
class Wish:
    """Which part of the log somebody wants."""

    lines: int
    """The last so many of each pod."""
    follow: bool
    """Then what comes, also from pods that come later, until cancelled."""
    previous: bool
    """Of each container, the one before its last restart."""


@dataclass(frozen=True, slots=True)
class Source:
    """Whose log it is: one container of the pods with these labels."""

    namespace: str
    labels: str
    container: str


OPERATOR = Source(
    api.SYSTEM_NAMESPACE, f"app.kubernetes.io/name={operator_pod.NAME}", operator_pod.CONTAINER
)


async def show(target: targets.Target, name: str, wish: Wish, write: Write) -> None:
    """Write the lines of all pods in order of time.

    Raises:
        errors.StackError: there is no such App, or it has no pods with a log.
    """
    async with app_access.client(target) as cluster:
        await app_access.read(cluster, name)
        source = Source(api.NAMESPACE, f"{names.APP_LABEL}={name}", names.CONTAINER)
        if not await _show(cluster, source, wish, write):
            raise errors.StackError(f"App {name} has no pods; `bex why {name}` says why")


async def show_operator(target: targets.Target, wish: Wish, write: Write) -> None:
    """Write the lines of the operator's pods in order of time.

    Raises:
        errors.StackError: there are none.
    """
    async with app_access.client(target) as cluster:
        if not await _show(cluster, OPERATOR, wish, write):
            raise errors.StackError("the operator has no pods; `bex up` brings them back")


async def _show(cluster: kube.Client, source: Source, wish: Wish, write: Write) -> bool:
    """Write what is asked for; False if there is no pod and nobody waits for one."""
    found = await _pods(cluster, source)
    paint = Painter()
    kept: list[Line] = []
    for pod in found:
        kept += await _last(cluster, source, pod, wish)
    for line in sorted(kept):
        write(paint(line))
    if wish.follow:
        seen = {line.pod: line.time for line in sorted(kept)}
        await _follow(cluster, source, seen, lambda line: write(paint(line)))
    return bool(found)


class Painter:
    """Gives each pod a colour of its own for as long as there are enough."""

    def __init__(self) -> None:
        self._colours: dict[str, str] = {}
        self._next = itertools.cycle(COLOURS)

    def __call__(self, line: Line) -> text.Text:
        """Lay *line* out."""
        if line.pod not in self._colours:
            self._colours[line.pod] = next(self._next)
        return text.Text.assemble((f"{line.pod} | ", self._colours[line.pod]), line.content)


def parse(pod: str, raw: str) -> Line:
    """Read one line as the API server sends it with timestamps."""
    time, _, content = raw.partition(" ")
    return Line(time, pod, content)


async def _last(cluster: kube.Client, source: Source, pod: str, wish: Wish) -> list[Line]:
    """The last lines of a pod's log; none while its container has not been made."""
    params = {"container": source.container, "timestamps": "true", "tailLines": str(wish.lines)}
    if wish.previous:
        params["previous"] = "true"
    try:
        answer = await cluster.request("GET", _path(source, pod), params=params)
    except (kube_errors.BadRequest, kube_errors.NotFound):
        return []
    return [parse(pod, raw) for raw in str(answer).splitlines()]


async def _follow(
    cluster: kube.Client, source: Source, seen: dict[str, str], write: Callable[[Line], None]
) -> None:
    """Write new lines of the pods, also of those that come later, until cancelled.

    *seen* holds the time of each pod's last line that was shown.
    """
    readers: dict[str, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as group:
        while True:
            for pod in await _pods(cluster, source):
                if pod not in readers or readers[pod].done():
                    readers[pod] = group.create_task(_read_on(cluster, source, pod, seen, write))
            await asyncio.sleep(LOOK_SECONDS)


async def _read_on(
    cluster: kube.Client,
    source: Source,
    pod: str,
    seen: dict[str, str],
    write: Callable[[Line], None],
) -> None:
    """Write a pod's new lines until its log ends or falls silent; then it is to be called again."""
    params = {"container": source.container, "timestamps": "true", "follow": "true"}
    if pod in seen:
        params["sinceTime"] = seen[pod]
    with contextlib.suppress(kube_errors.KubeError):  # no container yet, gone, or silent
        async for raw in cluster.lines(_path(source, pod), params=params):
            line = parse(pod, raw.decode(errors="replace"))
            if line.time > seen.get(pod, ""):  # `sinceTime` counts in whole seconds
                seen[pod] = line.time
                write(line)


async def _pods(cluster: kube.Client, source: Source) -> list[str]:
    """Name the pods, oldest first."""
    found = await cluster.list(kinds.POD, source.namespace, labels=source.labels)
    return [str(pod["metadata"]["name"]) for pod in sorted(found.items, key=app_access.pod_age)]


def _path(source: Source, pod: str) -> str:
    return kinds.POD.path(source.namespace, pod, "log")
