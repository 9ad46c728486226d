"""Simulated machines: nodes that KWOK keeps Ready and whose pods run in name only.

Needs no root and no namespaces: for scale tests and for hosts that refuse them. The control plane
is the real one. One process plays all machines; a machine is a Node object with an annotation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bex_operator.kube import client as kube
from bex_operator.kube import errors, kinds
from bex_stack.embedded import (
    building,
    cluster,
    machine_config,
    nodes,
    processes,
    readiness,
    services,
)
from bex_stack.embedded import instance as instances

NAME = "kwok"
USER = "bex-kwok"
READY_SECONDS = 120.0
LEASE_SECONDS = 40
_ANNOTATION = {"kwok.x-k8s.io/node": "fake"}
_CAPACITY = {"cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"}


def process(instance: instances.Instance, program: Path) -> processes.Process:
    """KWOK, with the stages that lie beside its program; run it with the kubeconfig of USER."""
    selector = ",".join(f"{key}={value}" for key, value in _ANNOTATION.items())
    command = (
        str(program),
        f"--kubeconfig={instance.kubeconfig_of(USER)}",
        f"--config={building.share_path(program, 'stages.yaml')}",
        f"--manage-nodes-with-annotation-selector={selector}",
        f"--node-lease-duration-seconds={LEASE_SECONDS}",
        f"--cidr={instance.pod_network}",
        f"--node-ip={instance.machine_address(0)}",
    )
    return processes.Process(NAME, command, priority=60)


def ensure_player(instance: instances.Instance, programs: Mapping[str, Path]) -> None:
    """Let KWOK run. Needs a control plane that is ready.

    Raises: readiness.NotReady.
    """
    cluster.apply(instance, [_role(), _role_binding()])
    services.ensure_process(instance, process(instance, programs[NAME]), user=USER)


def is_player_settled(instance: instances.Instance, programs: Mapping[str, Path]) -> bool:
    """Whether KWOK runs as it should."""
    wanted = process(instance, programs[NAME])
    return services.is_process_settled(instance, wanted, user=USER)


def ensure(instance: instances.Instance, machine: machine_config.Machine) -> None:
    """Let the node of *machine* exist and be Ready.

    Raises: readiness.NotReady.
    """
    ensure_nodes(instance, [machine])


def ensure_nodes(instance: instances.Instance, wanted: Iterable[machine_config.Machine]) -> None:
    """Let many nodes exist and be Ready; faster than one after another.

    Raises: readiness.NotReady.
    """
    rendered = [render_node(instance, machine) for machine in wanted]
    asyncio.run(_apply_all(instance, rendered))
    names = {node["metadata"]["name"] for node in rendered}
    readiness.wait(
        lambda: names <= asyncio.run(_ready_nodes(instance)),
        what=f"{len(names)} simulated nodes",
        timeout_seconds=READY_SECONDS,
        instance=instance,
        process=NAME,
        poll_seconds=0.1,
    )


def is_settled(instance: instances.Instance, machine: machine_config.Machine) -> bool:
    """Whether the node of *machine* is Ready."""
    return asyncio.run(nodes.is_ready_now(instance, machine.name))


def render_node(instance: instances.Instance, machine: machine_config.Machine) -> dict[str, Any]:
    """The Node (v1) that stands for *machine*."""
    labels = {
        **machine.labels,
        "kubernetes.io/hostname": machine.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "type": "kwok",
    }
    taints = [{"key": machine_config.CONTROL_PLANE_TAINT, "effect": "NoSchedule"}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": machine.name, "labels": labels, "annotations": _ANNOTATION},
        "spec": {"taints": taints} if machine.role == "control-plane" else {},
        "status": {"capacity": _CAPACITY, "allocatable": _CAPACITY},
    }


async def _apply_all(instance: instances.Instance, rendered: list[dict[str, Any]]) -> None:
    limit = asyncio.Semaphore(16)
    async with kube.Client.from_kubeconfig(instance.kubeconfig) as client:

        async def apply(node: dict[str, Any]) -> None:
            async with limit:
                await client.apply(node, field_manager=cluster.FIELD_MANAGER)

        await asyncio.gather(*(apply(node) for node in rendered))


async def _ready_nodes(instance: instances.Instance) -> set[str]:
    try:
        async with kube.Client.from_kubeconfig(instance.kubeconfig) as client:
            found = await client.list(kinds.NODE)
    except errors.KubeError:
        return set()
    return {node["metadata"]["name"] for node in found.items if nodes.is_ready(node)}


def _role() -> dict[str, Any]:
    def rule(group: str, resources: list[str], verbs: list[str]) -> dict[str, Any]:
        return {"apiGroups": [group], "resources": resources, "verbs": verbs}

    watch, change = ["get", "list", "watch"], ["patch", "update"]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "bex:kwok"},
        "rules": [
            rule("", ["nodes"], [*watch, *change]),
            rule("", ["nodes/status", "pods/status"], change),
            rule("", ["pods"], [*watch, *change, "delete"]),
            rule("", ["events"], ["create", "patch"]),
            rule("events.k8s.io", ["events"], ["create", "patch"]),
            rule("coordination.k8s.io", ["leases"], [*watch, *change, "create", "delete"]),
        ],
    }


def _role_binding() -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "bex:kwok"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "bex:kwok"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": USER}],
    }
