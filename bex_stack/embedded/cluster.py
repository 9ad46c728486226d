"""Deeds of the control plane: keys, files and processes in place, ready, with first objects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from bex_stack.embedded import (
    control_plane,
    disk,
    encryption,
    identities,
    processes,
    readiness,
    supervision,
)
from bex_stack.embedded import instance as instances

FIELD_MANAGER = "bex-embedded"
READY_SECONDS = 120.0
"""On an idle machine it takes four; a busy one may need much longer."""


def ensure(
    instance: instances.Instance,
    programs: Mapping[str, Path],
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Let the control plane run and answer; *programs* are its binaries by name.

    Needs the host's share (`host.ensure`). *meanwhile* is done once the API server is ready, while
    the controllers start.

    Raises: readiness.NotReady, supervision.SupervisionError.
    """
    _ensure_files(instance)
    wanted = processes_of(instance, programs)
    supervision.ensure(instance, wanted[:2])
    wait_until_answering(instance)
    # The others read their rights from the API server when they start, and would only fail before.
    supervision.ensure(instance, wanted[2:])
    apply(instance, bootstrap_objects())
    meanwhile()
    _wait(instance, control_plane.CONTROLLER_MANAGER)
    _wait(instance, control_plane.SCHEDULER)


def processes_of(
    instance: instances.Instance, programs: Mapping[str, Path]
) -> list[processes.Process]:
    """The control plane's processes: first the two that all others need."""
    keys = identities.control_plane_keys(instance)
    makers = (
        (control_plane.ETCD, control_plane.etcd),
        (control_plane.API_SERVER, control_plane.api_server),
        (control_plane.CONTROLLER_MANAGER, control_plane.controller_manager),
        (control_plane.SCHEDULER, control_plane.scheduler),
    )
    return [make(instance, keys, programs[name]) for name, make in makers]


def is_settled(instance: instances.Instance, programs: Mapping[str, Path]) -> bool:
    """Whether `ensure` would change nothing."""
    return not unsettled(instance, programs)


def unsettled(instance: instances.Instance, programs: Mapping[str, Path]) -> list[str]:
    """What `ensure` would mend, in words."""
    found = supervision.unsettled(instance, processes_of(instance, programs))
    if not found and not answers(instance):
        found.append("the API server does not answer")
    return found


def answers(instance: instances.Instance) -> bool:
    """Whether the API server is ready."""
    authority = identities.cluster_authority(instance).certificate
    url = control_plane.health_urls(instance)[control_plane.API_SERVER]
    return readiness.answers(url, authority=authority)


def wait_until_answering(instance: instances.Instance) -> None:
    """Wait until the API server is ready, whoever starts it.

    Raises: readiness.NotReady.
    """
    _wait(instance, control_plane.API_SERVER)


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


def apply(
    instance: instances.Instance,
    objects: list[dict[str, Any]],
    *,
    tell: Callable[[str], None] = lambda _message: None,
) -> None:
    """Server-side apply *objects* as the administrator; *tell* hears what is waited for.

    Raises: service_address.AddressTaken, errors.KubeError.
    """
    # Slow to import, and many call only for the host.
    from bex_operator.kube import client as kube
    from bex_stack.embedded import service_address

    async def run() -> None:
        async with kube.Client.from_kubeconfig(instance.kubeconfig, user_agent="bex") as client:
            for obj in objects:
                await service_address.apply(client, obj, field_manager=FIELD_MANAGER, tell=tell)

    asyncio.run(run())


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
