"""Deeds of what runs beside the control plane: registry, name server, processes of the user."""

from __future__ import annotations

from collections.abc import Mapping
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

READY_SECONDS = 60.0
UPSTREAM = Path("/etc/resolv.conf")


def ensure_registry(instance: instances.Instance, program: Path) -> None:
    """Let the registry run and answer.

    Raises: readiness.NotReady.
    """
    cluster.ensure_host(instance)
    disk.ensure_dir(instance.dir / "registry")
    supervision.ensure(instance, [registry.process(instance, program)])
    wait_ready(instance, registry.NAME, {"http": registry.health_url(instance)})


def ensure_dns(instance: instances.Instance, program: Path) -> None:
    """Let the name server run, know the cluster's names and stand behind its Service.

    Needs a control plane that is ready. Raises: readiness.NotReady.
    """
    identities.ensure_kubeconfig(instance, dns.USER)
    cluster.apply(instance, dns.objects(instance))
    corefile = dns.render_corefile(instance, upstream=UPSTREAM)
    disk.ensure_file(dns.corefile(instance), corefile)
    supervision.ensure(instance, [dns.process(instance, program)])
    wait_ready(instance, dns.NAME, {"http": dns.ready_url(instance)})


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
        kubeconfig = identities.ensure_kubeconfig(instance, user)
        process = _with_kubeconfig(process, kubeconfig)
    supervision.ensure(instance, [process])
    wait_ready(instance, process.name, ready)


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


def _with_kubeconfig(process: processes.Process, kubeconfig: Path) -> processes.Process:
    return processes.Process(
        name=process.name,
        command=process.command,
        environment={"KUBECONFIG": str(kubeconfig), **process.environment},
        directory=process.directory,
        inputs=(*process.inputs, kubeconfig),
        stop_signal=process.stop_signal,
        stop_seconds=process.stop_seconds,
        priority=process.priority,
    )
