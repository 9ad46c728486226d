"""The objects of the `caph` overlay, judged by CAPH's own definitions in a real API server.

Not part of the suite: `make check-caph CRDS=DIR` names a folder with the definitions of
cluster-api-provider-hetzner (`config/crd/bases` of its repository).
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bex_operator.kube import client
from components.manifests import caph
from tests.integration import test_cluster_api_objects as overlays
from tests.support import cluster_api as definitions
from tests.support.api_server import ApiServer


@pytest.fixture(scope="module")
def crds() -> list[dict[str, Any]]:
    """CAPH's definitions, from the folder that was named."""
    found = definitions.definitions([Path(os.environ["CRDS"])])
    assert found, f"{os.environ['CRDS']} holds no CustomResourceDefinition"
    return found


@pytest.fixture(scope="module")
async def api(api_server: ApiServer, crds: list[dict[str, Any]]) -> AsyncIterator[client.Client]:
    """An API server that serves CAPH's kinds beside core's."""
    served = [*definitions.core_definitions(), *crds]
    async with (
        client.Client.from_kubeconfig(api_server.kubeconfig) as made,
        definitions.loaded(made, served),
    ):
        yield made


@pytest.mark.parametrize(
    "more",
    [
        {},
        overlays.AUTOSCALED,
        {"bex:workersMin": "0", "bex:workersMax": "0"},
        {"bex:location": "ash", "bex:fallbackLocation": "", "bex:buildMachinesMax": "0"},
        {"bex:mirror": '["10.10.0.9:5000", "/srv"]', "bex:loadBalancerType": "lb31"},
    ],
    ids=["as-checked-in", "shards", "fixed", "other-zone", "mirror"],
)
async def test_every_object_is_accepted(api: client.Client, more: dict[str, str]) -> None:
    """HetznerCluster, machine templates, remediation and all of core's."""
    manifests = overlays.caph_objects(**more)

    assert await definitions.refusals(api, manifests) == []


def test_version_we_write_is_the_one_that_is_stored(crds: list[dict[str, Any]]) -> None:
    """No conversion is needed, and none is possible before CAPH's manager runs."""
    version = caph.VERSION.rpartition("/")[2]
    stored = {
        v["name"] for crd in crds for v in crd["spec"]["versions"] if v["storage"] and v["served"]
    }

    assert stored == {version}
