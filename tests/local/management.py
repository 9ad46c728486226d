"""Cluster API on a kind cluster: its kinds, and its managers as processes of this host.

`clusterctl init` would run them as pods, from images that only an image registry has. Same
programs, same webhooks; the API server asks them over the Docker network's gateway.
"""

import asyncio
import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bex_operator.kube import client
from bex_stack.embedded import pki
from components.manifests import cluster_api
from tests.integration import test_cluster_api_objects as overlays
from tests.support import capi_managers, waiting
from tests.support import cluster_api as definitions

READY_SECONDS = 300


@contextlib.contextmanager
def running(kubeconfig: Path, folder: Path, address: str, docker_host: str) -> Iterator[None]:
    """Run Cluster API for the cluster behind *kubeconfig* as long as the block lasts.

    *address* is this host's, as that cluster reaches it.
    """
    now = datetime.datetime.now(datetime.UTC)
    authority = pki.ensure_authority(folder / "ca", "webhooks", now=now)
    pki.ensure_pair(authority, folder / "tls", pki.Leaf("webhooks", addresses=(address,)), now=now)
    asyncio.run(_define(kubeconfig))
    environment = {"DOCKER_HOST": docker_host}
    with capi_managers.running(kubeconfig, folder, folder, environment) as ports:
        configurations = capi_managers.configurations(
            address, ports, authority.certificate.read_bytes()
        )
        asyncio.run(_ask_them(kubeconfig, list(configurations)))
        yield


async def _define(kubeconfig: Path) -> None:
    """Serve Cluster API's kinds; its managers end at once where they are missing."""
    async with client.Client.from_kubeconfig(kubeconfig) as api:
        await definitions.define(api, capi_managers.crds())


async def _ask_them(kubeconfig: Path, configurations: list[dict[str, Any]]) -> None:
    async with client.Client.from_kubeconfig(kubeconfig) as api:
        for configuration in configurations:
            await api.apply(configuration, field_manager="test")

        async def all_answer() -> bool:
            said = await definitions.refusals(api, overlays.capd_objects())
            return not any("failed calling webhook" in each for each in said)

        await waiting.until(all_answer, "every manager's webhooks answer", READY_SECONDS)
        await _forget_namespace(api)


async def _forget_namespace(api: client.Client) -> None:
    """Remove what the question left: the stack makes this namespace itself."""
    kind = await api.resolve("v1", "Namespace")
    await api.delete(kind, cluster_api.NAMESPACE)

    async def is_gone() -> bool:
        names = [each["metadata"]["name"] for each in (await api.list(kind)).items]
        return cluster_api.NAMESPACE not in names

    await waiting.until(is_gone, f"the namespace {cluster_api.NAMESPACE} is gone")
