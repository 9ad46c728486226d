"""`clusterctl init` from a mirror's folder, by the program's own provider, on a real API server.

Not part of the suite: `make check-capi` builds clusterctl. The folder is laid out as `bex bundle`
does; its components are rendered from Cluster API's modules, from which its releases' are, too.
Nothing runs the Deployments that come: the test says in their status that they are available.
"""

import asyncio
import contextlib
import dataclasses
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bex_operator.kube import client, errors
from bex_stack.embedded import toolchain
from components import infra_cluster, pins
from components.dynamic import clusterctl
from tests.support import cluster_api as modules
from tests.support.api_server import ApiServer, controllers

__all__ = ["controllers"]

CERT_MANAGER = Path(__file__).parents[2] / "tools" / "cert-manager"
RENDER_SECONDS = 120
NAMESPACES = {
    "capi-system",
    "capi-kubeadm-bootstrap-system",
    "capi-kubeadm-control-plane-system",
    "capd-system",
}


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every file that the stack `local` has `clusterctl init` read, and no other."""
    kubectl = toolchain.ensure(["kubectl"]).path("kubectl")
    monkeypatch.setenv("PATH", f"{kubectl.parent}:{os.environ['PATH']}")
    core, docker = modules.module_folder(modules.CORE), modules.module_folder(modules.DOCKER)
    sources = {
        pins.CORE: core / "core",
        pins.BOOTSTRAP: core / "bootstrap/kubeadm",
        pins.CONTROL_PLANE: core / "controlplane/kubeadm",
        pins.DOCKER: docker / "infrastructure/docker",
    }
    for (components, metadata), source in sources.items():
        _write(tmp_path / components.name, _kustomized(kubectl, source / "config/default"))
        shutil.copyfile(core / "metadata.yaml", tmp_path / metadata.name)
    definitions = modules.module_folder("github.com/cert-manager/cert-manager", CERT_MANAGER)
    crds = [file.read_text() for file in sorted((definitions / "deploy/crds").glob("*.yaml"))]
    _write(tmp_path / pins.CERT_MANAGER_MANIFEST.name, "\n---\n".join(crds))
    return tmp_path


@pytest.fixture
async def kube(controllers: ApiServer) -> AsyncIterator[client.Client]:
    """An API server on which every Deployment becomes available."""
    async with client.Client.from_kubeconfig(controllers.kubeconfig) as made:
        playing = asyncio.create_task(_play(made))
        yield made
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing


async def test_cluster_api_is_installed_from_the_mirror_once(
    kube: client.Client, controllers: ApiServer, mirror: Path
) -> None:
    """Four providers and cert-manager's kinds, of the pinned versions; a second time nothing."""
    wanted = infra_cluster.PROVIDERS["capd"]
    inputs = {
        "cluster": infra_cluster.NAME,
        "kubeconfig": controllers.kubeconfig.read_text(),
        "providers": [dataclasses.asdict(each) for each in wanted],
        "folder": str(mirror),
    }
    provider = clusterctl.ClusterctlProvider()
    await asyncio.to_thread(provider.ensure, inputs)

    found = await asyncio.to_thread(clusterctl.installed, str(controllers.kubeconfig))
    assert found == {each.key: each.version for each in wanted}
    deployments = await kube.list(await kube.resolve("apps/v1", "Deployment"))
    assert {each["metadata"]["namespace"] for each in deployments.items} == NAMESPACES
    await kube.resolve("cert-manager.io/v1", "Certificate")
    shutil.rmtree(mirror)
    await asyncio.to_thread(provider.ensure, inputs)


async def _play(kube: client.Client) -> None:
    """Say so of each, whatever the server answers while kinds come."""
    while True:
        with contextlib.suppress(errors.KubeError):
            await _make_available(kube)
        await asyncio.sleep(0.2)


async def _make_available(kube: client.Client) -> None:
    kind = await kube.resolve("apps/v1", "Deployment")
    told = {"status": {"conditions": [{"type": "Available", "status": "True"}]}}
    for each in (await kube.list(kind)).items:
        where = (each["metadata"]["name"], each["metadata"]["namespace"])
        if not each.get("status", {}).get("conditions"):
            await kube.patch(kind, *where, told, subresource="status", field_manager="kcm")


def _kustomized(kubectl: Path, folder: Path) -> str:
    done = subprocess.run(
        [str(kubectl), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=RENDER_SECONDS,
        check=True,
    )
    return done.stdout


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
