"""The objects of both overlays, judged by the webhooks of Cluster API's own managers.

Not part of the suite, for building the managers takes minutes: `make check-capi`. They run as
processes beside a real API server, which asks them about every object; nothing is kept.
"""

import contextlib
import copy
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from bex_operator.kube import client, errors
from tests.integration import test_cluster_api_objects as overlays
from tests.support import capi_managers, waiting
from tests.support import cluster_api as definitions
from tests.support.api_server import ApiServer

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def ports(api_server: ApiServer) -> Iterator[dict[str, int]]:
    """Managers that run, by name, with the ports of their webhooks."""
    certificates = api_server.directory / "webhooks"
    certificates.mkdir()
    shutil.copy(api_server.directory / "server.crt", certificates / "tls.crt")
    shutil.copy(api_server.directory / "server.key", certificates / "tls.key")
    with capi_managers.running(api_server.kubeconfig, certificates, api_server.directory) as made:
        yield made


@pytest.fixture(scope="module")
async def served(api_server: ApiServer) -> AsyncIterator[client.Client]:
    """An API server with the kinds of core, kubeadm and CAPD."""
    async with (
        client.Client.from_kubeconfig(api_server.kubeconfig) as made,
        definitions.loaded(made, capi_managers.crds()),
    ):
        yield made


@pytest.fixture(scope="module")
async def api(
    served: client.Client, api_server: ApiServer, ports: dict[str, int]
) -> AsyncIterator[client.Client]:
    """The same server once it asks the managers, and they answer."""
    authority = (api_server.directory / "ca.crt").read_bytes()
    configurations = capi_managers.configurations("127.0.0.1", ports, authority)
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
