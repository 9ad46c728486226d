"""The objects of both overlays, judged by the webhooks of Cluster API's own managers.

Not part of the suite, for building the managers takes minutes: `make check-capi`. They run as
processes beside a real API server, which asks them about every object; nothing is kept.
"""

import base64
import contextlib
import copy
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from bex_operator.kube import client, errors
from components.dynamic import programs
from tests.integration import test_cluster_api_objects as overlays
from tests.support import cluster_api as definitions
from tests.support import places, waiting
from tests.support.api_server import ApiServer

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


@pytest.fixture(scope="module")
def ports(api_server: ApiServer) -> Iterator[dict[str, int]]:
    """Managers that run, by name, with the ports of their webhooks."""
    found = places.free_ports(len(MANAGERS) * 3)
    webhook, health, diagnostics = (found[n::3] for n in range(3))
    certificates = api_server.directory / "webhooks"
    certificates.mkdir()
    shutil.copy(api_server.directory / "server.crt", certificates / "tls.crt")
    shutil.copy(api_server.directory / "server.key", certificates / "tls.key")
    with contextlib.ExitStack() as running:
        for number, manager in enumerate(MANAGERS):
            command = [
                *("setpriv", "--pdeathsig", "KILL"),
                str(programs.folder() / f"{manager.name}-manager"),
                f"--kubeconfig={api_server.kubeconfig}",
                "--leader-elect=false",
                f"--webhook-port={webhook[number]}",
                f"--webhook-cert-dir={certificates}",
                f"--health-addr=127.0.0.1:{health[number]}",
                f"--diagnostics-address=127.0.0.1:{diagnostics[number]}",
                "--feature-gates=MachinePool=false,ClusterTopology=true",
            ]
            running.enter_context(_process(command, api_server.directory / f"{manager.name}.log"))
        yield {manager.name: port for manager, port in zip(MANAGERS, webhook, strict=True)}


@pytest.fixture(scope="module")
async def served(api_server: ApiServer) -> AsyncIterator[client.Client]:
    """An API server with the kinds of core, kubeadm and CAPD, labelled as `clusterctl` does."""
    crds = [*definitions.core_definitions(), *definitions.docker_definitions()]
    for crd in crds:
        crd["metadata"].setdefault("labels", {})["cluster.x-k8s.io/v1beta2"] = "v1beta2"
    async with (
        client.Client.from_kubeconfig(api_server.kubeconfig) as made,
        definitions.loaded(made, crds),
    ):
        yield made


@pytest.fixture(scope="module")
async def api(
    served: client.Client, api_server: ApiServer, ports: dict[str, int]
) -> AsyncIterator[client.Client]:
    """The same server once it asks the managers, and they answer."""
    authority = base64.b64encode((api_server.directory / "ca.crt").read_bytes()).decode()
    configurations = [
        _pointed(webhooks, manager, ports[manager.name], authority)
        for manager in MANAGERS
        for webhooks in manager.webhooks()
    ]
    for configuration in configurations:
        await served.apply(configuration, field_manager="test")

    async def all_answer() -> bool:
        said = await definitions.refusals(served, overlays.capd_objects())
        return not any("failed calling webhook" in each for each in said)

    await waiting.until(all_answer, "every manager's webhooks answer", 300)
    yield served
    for configuration in configurations:
        kind = await served.resolve(configuration["apiVersion"], configuration["kind"])
        await served.delete(kind, configuration["metadata"]["name"])


@pytest.mark.parametrize(
    "manifests",
    [
        overlays.capd_objects(),
        overlays.capd_objects(**overlays.AUTOSCALED, **{"bex:controlPlanes": "3"}),
        overlays.of_core(overlays.caph_objects()),
        overlays.of_core(overlays.caph_objects(**overlays.AUTOSCALED)),
    ],
    ids=["capd", "capd-autoscaled", "caph", "caph-shards"],
)
async def test_webhooks_accept_every_object(
    api: client.Client, manifests: Sequence[Manifest]
) -> None:
    """Defaulting and validation by the managers that will really see them."""
    assert await definitions.refusals(api, list(manifests)) == []


async def test_webhooks_are_really_asked(api: client.Client) -> None:
    """An even number of control planes passes the schema, and no webhook."""
    manifests = copy.deepcopy(overlays.capd_objects())
    for each in manifests:
        if each["kind"] == "KubeadmControlPlane":
            each["spec"]["replicas"] = 2

    (said,) = await definitions.refusals(api, manifests)
    assert "even number" in said


async def test_pool_of_the_autoscaler_gets_its_first_number_from_its_bounds(
    api: client.Client,
) -> None:
    """The defaulting webhook fills in the least; nothing of ours writes it again."""
    pools = [
        each
        for each in overlays.capd_objects(**overlays.AUTOSCALED)
        if each["kind"] == "MachineDeployment"
    ]
    with contextlib.suppress(errors.AlreadyExists):
        await api.create(overlays.capd_objects()[0], field_manager="test")
    made = await api.create(pools[0], field_manager="test", dry_run=True)

    assert made["spec"]["replicas"] == 1


def _pointed(webhooks: Manifest, manager: Manager, port: int, authority: str) -> Manifest:
    """Let a configuration ask a process on loopback instead of a Service."""
    made = copy.deepcopy(webhooks)
    made["metadata"]["name"] = f"{manager.name}-{made['metadata']['name']}"
    for webhook in made["webhooks"]:
        path = webhook["clientConfig"]["service"]["path"]
        webhook["clientConfig"] = {"url": f"https://127.0.0.1:{port}{path}", "caBundle": authority}
    return made


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[None]:
    environment = {"POD_NAMESPACE": "default", "POD_NAME": "check", "PATH": "/usr/bin:/bin"}
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out, env=environment) as process,
    ):
        try:
            yield
        finally:
            process.kill()
