"""Deeds of what runs beside the control plane: registry, name server, processes of the user."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from bex_stack.embedded import (
    cluster,
    disk,
    dns,
    identities,
    processes,
    readiness,
    registry,
    supervision,
)
from bex_stack.embedded import instance as instances

READY_SECONDS = 120.0
DNS_PROGRAM = "coredns"
UPSTREAM = Path("/etc/resolv.conf")


def ensure_registry(instance: instances.Instance, program: Path) -> None:
    """Let the registry run and answer.

    Raises: readiness.NotReady.
    """
    disk.ensure_dir(instance.dir / "registry")
    if disk.read(registry.token_key(instance)) is None:
        disk.ensure_file(registry.token_key(instance), secrets.token_hex(32))
    supervision.ensure(instance, [registry.process(instance, program)])
    wait_ready(instance, registry.NAME, {"http": registry.health_url(instance)})


def ensure_dns(
    instance: instances.Instance,
    programs: Mapping[str, Path],
    *,
    tell: Callable[[str], None] = lambda _message: None,
) -> None:
    """Let the name server run, know the cluster's names and stand behind its Service.

    Needs a control plane that is ready. Raises: readiness.NotReady, service_address.AddressTaken.
    """
    cluster.apply(instance, dns.objects(instance), tell=tell)
    corefile = dns.render_corefile(instance, upstream=UPSTREAM)
    disk.ensure_file(dns.corefile(instance), corefile)
    process = dns.process(instance, programs[DNS_PROGRAM])
    ready = {"http": dns.ready_url(instance)}
    ensure_process(instance, process, user=dns.USER, ready=ready)


def is_dns_settled(instance: instances.Instance, programs: Mapping[str, Path]) -> bool:
    """Whether the name server runs as `ensure_dns` would start it."""
    process = dns.process(instance, programs[DNS_PROGRAM])
    return is_process_settled(instance, process, user=dns.USER)


def ensure_process(
    instance: instances.Instance,
    process: processes.Process,
    *,
    user: str | None = None,
    ready: Mapping[str, str] | None = None,
) -> None:
    """Let *process* run, with a kubeconfig of *user* in place, and wait until it answers.

    Raises: readiness.NotReady.
    """
    if user is not None:
        identities.ensure_kubeconfig(instance, user)
    process = with_user(instance, process, user)
    supervision.ensure(instance, [process])
    wait_ready(instance, process.name, ready)


def is_process_settled(
    instance: instances.Instance, process: processes.Process, *, user: str | None
) -> bool:
    """Whether *process* runs as it should, and its user's certificate lasts."""
    if supervision.pending(instance, [with_user(instance, process, user)]):
        return False
    return user is None or identities.is_user_current(instance, user)


def wait_ready(instance: instances.Instance, name: str, ready: Mapping[str, str] | None) -> None:
    """Wait until a process runs and answers: `{"http": URL}` or `{"unix_http": SOCKET}`.

    Raises: readiness.NotReady.
    """

    def is_ready() -> bool:
        if supervision.missing(instance, [name]):
            return False
        if ready and (url := ready.get("http")):
            return readiness.answers(url)
        if ready and (path := ready.get("unix_http")):
            return readiness.answers_on_socket(Path(path))
        return True

    readiness.wait(
        is_ready,
        what=f"{name} ({next(iter(ready.values()))})" if ready else name,
        timeout_seconds=READY_SECONDS,
        instance=instance,
        process=name,
    )


def with_user(
    instance: instances.Instance, process: processes.Process, user: str | None
) -> processes.Process:
    """*process* with KUBECONFIG naming the kubeconfig of *user*, and started anew with it."""
    if user is None:
        return process
    kubeconfig = instance.kubeconfig_of(user)
    return dataclasses.replace(
        process,
        environment={"KUBECONFIG": str(kubeconfig), **process.environment},
        inputs=(*process.inputs, kubeconfig),
    )
