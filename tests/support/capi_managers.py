"""Cluster API's managers as processes beside the API server that asks their webhooks."""

import base64
import contextlib
import copy
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.dynamic import programs
from tests.support import cluster_api as definitions
from tests.support import places

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Manager:
    """One of Cluster API's managers."""

    name: str
    module: str
    folder: str
    """Where its `config/webhook` is in the module."""

    def webhooks(self) -> list[Manifest]:
        """Read its webhook configurations."""
        file = (
            definitions.module_folder(self.module) / self.folder / "config/webhook/manifests.yaml"
        )
        return [each for each in yaml.safe_load_all(file.read_text()) if each]


MANAGERS = (
    Manager("core", definitions.CORE, "core"),
    Manager("kubeadm-bootstrap", definitions.CORE, "bootstrap/kubeadm"),
    Manager("kubeadm-control-plane", definitions.CORE, "controlplane/kubeadm"),
    Manager("docker", definitions.DOCKER, "infrastructure/docker"),
)

CAPD_PORT = 19000


@contextlib.contextmanager
def running(
    kubeconfig: Path, certificates: Path, logs: Path, env: Mapping[str, str] | None = None
) -> Iterator[dict[str, int]]:
    """Run all of them; lend the ports of their webhooks by name.

    *certificates* has the webhooks' `tls.crt` and `tls.key`.
    """
    with _alone(), _all_of_them(kubeconfig, certificates, logs, env or {}) as ports:
        yield ports


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Have this host's only set of them: CAPD's listens on a port that it lets nobody choose."""
    lock = Path(tempfile.gettempdir()) / f"bex-capd-{CAPD_PORT}.lock"
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            told = f"CAPD's manager always listens on port {CAPD_PORT}"
            raise RuntimeError(
                f"{told}: let the other test-local or check-capi of this host end first"
            ) from taken
        yield


@contextlib.contextmanager
def _all_of_them(
    kubeconfig: Path, certificates: Path, logs: Path, env: Mapping[str, str]
) -> Iterator[dict[str, int]]:
    found = places.free_ports(len(MANAGERS) * 3)
    webhook, health, diagnostics = (found[n::3] for n in range(3))
    with contextlib.ExitStack() as all_of_them:
        for number, manager in enumerate(MANAGERS):
            command = [
                *("setpriv", "--pdeathsig", "KILL"),
                str(programs.folder() / f"{manager.name}-manager"),
                f"--kubeconfig={kubeconfig}",
                "--leader-elect=false",
                # What failed while a machine was busy is not left alone for ten minutes.
                "--sync-period=1m",
                f"--webhook-port={webhook[number]}",
                f"--webhook-cert-dir={certificates}",
                f"--health-addr=127.0.0.1:{health[number]}",
                f"--diagnostics-address=127.0.0.1:{diagnostics[number]}",
                "--feature-gates=MachinePool=false,ClusterTopology=true",
            ]
            log = logs / f"{manager.name}.log"
            all_of_them.enter_context(_process(command, log, env))
        yield {manager.name: port for manager, port in zip(MANAGERS, webhook, strict=True)}


def crds() -> list[Manifest]:
    """Read the kinds of core, kubeadm and CAPD, labelled as `clusterctl` does."""
    found = [*definitions.core_definitions(), *definitions.docker_definitions()]
    for crd in found:
        crd["metadata"].setdefault("labels", {})["cluster.x-k8s.io/v1beta2"] = "v1beta2"
    return found


def configurations(address: str, ports: Mapping[str, int], authority: bytes) -> Sequence[Manifest]:
    """Render the webhook configurations, pointed at processes on *address*."""
    return [
        _pointed(webhooks, manager, f"{address}:{ports[manager.name]}", authority)
        for manager in MANAGERS
        for webhooks in manager.webhooks()
    ]


def _pointed(webhooks: Manifest, manager: Manager, server: str, authority: bytes) -> Manifest:
    """Let a configuration ask a process instead of a Service."""
    made = copy.deepcopy(webhooks)
    made["metadata"]["name"] = f"{manager.name}-{made['metadata']['name']}"
    bundle = base64.b64encode(authority).decode()
    for webhook in made["webhooks"]:
        path = webhook["clientConfig"]["service"]["path"]
        webhook["clientConfig"] = {"url": f"https://{server}{path}", "caBundle": bundle}
    return made


@contextlib.contextmanager
def _process(command: list[str], log: Path, env: Mapping[str, str]) -> Iterator[None]:
    environment = {
        **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
        "POD_NAMESPACE": "default",
        "POD_NAME": "check",
        **env,
    }
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out, env=environment) as process,
    ):
        try:
            yield
        finally:
            process.kill()
