"""How much room the machines have, for Apps that wait for some. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import app, quantities
from bex_operator.plan import tiers

CPU_STEP = 100
MEMORY_STEP = 64 * 2**20
"""What is free is told in steps, rounded down: a number that always moves is told for nothing."""
RECHECK_SECONDS = 30.0

_KEPT_AWAY = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True)
class Room:
    """One machine."""

    name: str
    ready: bool
    open: bool
    """It takes pods of Apps."""
    cpu: int
    """Free, in thousandths of a core."""
    memory: int
    """Free, in bytes."""
    whole_cpu: int
    whole_memory: int


def read(nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]) -> tuple[Room, ...]:
    """Measure every machine; *pods* are those of all namespaces that have not ended."""
    taken: dict[str, tuple[int, int]] = {}
    for pod in pods:
        node = pod.get("spec", {}).get("nodeName")
        if node:
            cpu, memory = taken.get(node, (0, 0))
            more_cpu, more_memory = _requests(pod["spec"])
            taken[node] = (cpu + more_cpu, memory + more_memory)
    return tuple(_room(node, *taken.get(node["metadata"]["name"], (0, 0))) for node in nodes)


def describe(wanted: app.App, rooms: Sequence[Room]) -> str:
    """Say what a replica needs and what there is; empty if it asks for nothing."""
    needed = tiers.resources(wanted).get("requests", {})
    cpu, memory = quantities.millicores(needed.get("cpu", "0")), _bytes(needed.get("memory", "0"))
    pending = sorted(room.name for room in rooms if not room.ready)
    waits = f"; machine {' and '.join(pending)} is not ready yet" if pending else ""
    takes = [room for room in rooms if room.open and room.ready]
    if not cpu and not memory:
        return waits.removeprefix("; ")
    need = f"a replica needs {_amounts(cpu, memory)}"
    if not takes:
        return f"{need}; no machine takes apps{waits}"
    large = [room for room in takes if room.whole_cpu >= cpu and room.whole_memory >= memory]
    if not large:
        most = max(takes, key=lambda room: (room.whole_cpu, room.whole_memory, room.name))
        size = _amounts(most.whole_cpu, most.whole_memory)
        return f"{need}; the largest machine has {size} in all: choose a smaller size{waits}"
    return f"{need}; free is {_free(large)}{waits}"


def _free(rooms: Sequence[Room]) -> str:
    freest = max(rooms, key=lambda room: (room.cpu, room.memory, room.name))
    others = f", less on {len(rooms) - 1} more" if len(rooms) > 1 else ""
    return f"{_amounts(freest.cpu, freest.memory)} on {freest.name}{others}"


def _room(node: Mapping[str, Any], cpu: int, memory: int) -> Room:
    spec, status = node.get("spec", {}), node.get("status", {})
    ready = any(
        each["type"] == "Ready" and each["status"] == "True"
        for each in status.get("conditions") or []
    )
    taints = {
        each.get("effect")
        for each in spec.get("taints") or []
        # The node controller says in this way that it is not ready.
        if not str(each.get("key", "")).startswith("node.kubernetes.io/")
    }
    whole = status.get("allocatable") or {}
    whole_cpu, whole_memory = _milli(whole.get("cpu", "0")), _bytes(whole.get("memory", "0"))
    return Room(
        name=node["metadata"]["name"],
        ready=ready,
        open=not spec.get("unschedulable") and not taints & _KEPT_AWAY,
        cpu=max(0, whole_cpu - cpu),
        memory=max(0, whole_memory - memory),
        whole_cpu=whole_cpu,
        whole_memory=whole_memory,
    )


def _requests(spec: Mapping[str, Any]) -> tuple[int, int]:
    cpu = memory = 0
    for container in spec.get("containers") or []:
        asked = (container.get("resources") or {}).get("requests") or {}
        cpu += _milli(asked.get("cpu", "0"))
        memory += _bytes(asked.get("memory", "0"))
    return cpu, memory


def _amounts(cpu: int, memory: int) -> str:
    cpu, memory = cpu - cpu % CPU_STEP, memory - memory % MEMORY_STEP
    cores = f"{cpu / 1000:g}"
    return f"{cores} CPU and {_memory(memory)} memory"


def _memory(count: int) -> str:
    return f"{count / 2**30:g}Gi" if count >= 2**30 else f"{count // 2**20}Mi"


def _milli(text: str) -> int:
    return quantities.millicores(text) if re.fullmatch(quantities.CPU_REGEX, text) else 0


def _bytes(text: str) -> int:
    return quantities.bytes_of(text) if re.fullmatch(quantities.MEMORY_REGEX, text) else 0
