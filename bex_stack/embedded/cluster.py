"""Deeds of the control plane: keys, files and processes in place, ready, with first objects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bex_operator.kube import client as kube
from bex_stack.embedded import (
    control_plane,
    disk,
    encryption,
    firewall,
    identities,
    network,
    readiness,
    supervision,
)
from bex_stack.embedded import instance as instances

FIELD_MANAGER = "bex-embedded"
READY_SECONDS = 120.0
"""On an idle machine it takes four; a busy one may need much longer."""


def ensure_host(instance: instances.Instance) -> None:
    """Let the bridge, the firewall and the supervisor of the instance exist.

    Called first by everything that binds the instance's address, in any order and at once.
    """
    supervision.ensure_running(instance)
    if instance.kind == "simulated":
        return
    with disk.locked(instance.run_dir / "network.lock"):
        network.ensure_bridge(instance)
        if not firewall.is_in_place(instance):
            firewall.ensure(instance)


def ensure(instance: instances.Instance, programs: Mapping[str, Path]) -> None:
    """Let the control plane run and answer; *programs* are its binaries by name.

    Raises: readiness.NotReady, supervision.SupervisionError, network.NetworkError.
    """
    ensure_host(instance)
    keys = identities.ensure_control_plane(instance)
    _ensure_files(instance)
    first = [
        control_plane.etcd(instance, keys, programs[control_plane.ETCD]),
        control_plane.api_server(instance, keys, programs[control_plane.API_SERVER]),
    ]
    supervision.ensure(instance, first)
    _wait(instance, control_plane.API_SERVER)
    name = control_plane.CONTROLLER_MANAGER
    second = [
        control_plane.controller_manager(instance, keys, programs[name]),
        control_plane.scheduler(instance, keys, programs[control_plane.SCHEDULER]),
    ]
    supervision.ensure(instance, second)
    asyncio.run(_apply(instance, bootstrap_objects()))
    _wait(instance, control_plane.CONTROLLER_MANAGER)
    _wait(instance, control_plane.SCHEDULER)


def is_healthy(instance: instances.Instance) -> bool:
    """Whether all processes of the control plane run and the API server is ready."""
    if supervision.missing(instance, control_plane.NAMES):
        return False
    if instance.kind == "real" and not firewall.is_in_place(instance):
        return False
    authority = identities.cluster_authority(instance).certificate
    return readiness.answers(
        control_plane.health_urls(instance)[control_plane.API_SERVER], authority=authority
    )


def bootstrap_objects() -> list[dict[str, Any]]:
    """Objects every cluster needs first: the API server may use the kubelets' API."""
    role = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "system:kubelet-api-admin",
    }
    subject = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "User",
        "name": identities.KUBELET_CLIENT,
    }
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "bex:kube-apiserver-to-kubelet"},
            "roleRef": role,
            "subjects": [subject],
        }
    ]


def apply(instance: instances.Instance, objects: list[dict[str, Any]]) -> None:
    """Server-side apply *objects* as the administrator."""
    asyncio.run(_apply(instance, objects))


async def _apply(instance: instances.Instance, objects: list[dict[str, Any]]) -> None:
    async with kube.Client.from_kubeconfig(instance.kubeconfig, user_agent="bex") as client:
        for obj in objects:
            await client.apply(obj, field_manager=FIELD_MANAGER)


def _ensure_files(instance: instances.Instance) -> None:
    files = control_plane.files_of(instance)
    disk.ensure_dir(instance.dir / "etcd")
    encryption.ensure_config(files.encryption)
    for path, content in (
        (files.authentication, control_plane.render_authentication()),
        (files.scheduler, control_plane.render_scheduler(instance)),
    ):
        disk.ensure_file(path, yaml.safe_dump(content, sort_keys=False))


def _wait(instance: instances.Instance, process: str) -> None:
    url = control_plane.health_urls(instance)[process]
    authority = identities.cluster_authority(instance).certificate
    readiness.wait(
        lambda: readiness.answers(url, authority=authority),
        what=f"{process} ({url})",
        timeout_seconds=READY_SECONDS,
        instance=instance,
        process=process,
    )
