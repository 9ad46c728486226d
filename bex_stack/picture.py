"""Draws a cluster: machines as boxes, pods in them. Pure: Kubernetes objects in, text out."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box, columns, panel, text

COLOURS = {"Running": "green", "Ready": "green", "Pending": "yellow", "NotReady": "red"}
BOX_WIDTH = 34


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as people think of it."""

    name: str
    state: str
    """Running (and ready), Starting, Ending, or the pod's phase."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A node and what runs on it."""

    name: str
    state: str
    """Ready, NotReady or Draining."""
    pods: tuple[Pod, ...]


def machines(
    nodes: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]
) -> tuple[list[Machine], list[Pod]]:
    """Arrange Node and Pod objects; the second value is the pods that no machine has taken."""
    by_node: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        by_node[pod["spec"].get("nodeName", "")].append(_pod(pod))
    found = [
        Machine(name, _node_state(node), tuple(sorted(by_node[name], key=lambda pod: pod.name)))
        for node in nodes
        for name in [node["metadata"]["name"]]
    ]
    return sorted(found, key=lambda machine: machine.name), by_node[""]


def draw(found: Sequence[Machine], waiting: Sequence[Pod]) -> columns.Columns:
    """Draw machines side by side, waiting pods in a box of their own."""
    boxes = [_box(machine.name, machine.state, machine.pods) for machine in found]
    if waiting:
        boxes.append(_box("no machine yet", "Pending", waiting))
    return columns.Columns(boxes)


def _box(title: str, state: str, pods: Sequence[Pod]) -> panel.Panel:
    lines = text.Text()
    for pod in pods:
        lines.append("■ ", style=COLOURS.get(pod.state, "yellow"))
        lines.append(
            pod.name if len(pod.name) <= BOX_WIDTH - 6 else f"{pod.name[: BOX_WIDTH - 7]}…"
        )
        lines.append("\n" if pod.state == "Running" else f" {pod.state}\n")
    return panel.Panel(
        lines if pods else text.Text("no pods\n", style="dim"),
        title=f"{title} · {state}",
        border_style=COLOURS.get(state, "yellow"),
        box=box.ROUNDED,
        width=BOX_WIDTH,
    )


def _pod(pod: Mapping[str, Any]) -> Pod:
    status = pod.get("status", {})
    ready = any(
        c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])
    )
    phase = status.get("phase", "Pending")
    if "deletionTimestamp" in pod["metadata"]:
        state = "Ending"
    elif phase == "Running" and not ready:
        state = "Starting"
    else:
        state = phase
    return Pod(pod["metadata"]["name"], state)


def _node_state(node: Mapping[str, Any]) -> str:
    if node.get("spec", {}).get("unschedulable"):
        return "Draining"
    conditions = node.get("status", {}).get("conditions", [])
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return "Ready" if ready else "NotReady"
