"""What both overlays render is what Cluster API's own definitions accept, in a real API server."""

import copy
import dataclasses
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bex_operator.kube import client
from bex_stack import capd_program, caph_program, settings, stack_files
from components import pins
from components.manifests import caph, cluster_api
from tests.support import cluster_api as definitions
from tests.support.api_server import ApiServer

ROOT = Path(__file__).parents[2]
AUTOSCALED = {"bex:workersMin": "1", "bex:workersMax": "25"}

Manifest = dict[str, Any]


def settings_of(stack: str, **more: str) -> Any:
    """Read a stack file of the project, with further settings."""
    file = ROOT / f"Pulumi.{stack}.yaml"
    return settings.parse({**stack_files.read_config(file), **more}, source=file.name)


def capd_objects(**more: str) -> list[Manifest]:
    """Render the overlay of the stack `local`."""
    return capd_program.overlay(settings_of("local", **more), pins.lock())


def caph_objects(**more: str) -> list[Manifest]:
    """Render the overlay of the stack `hetzner`."""
    return caph.render(caph_program.overlay(settings_of("hetzner", **more)))


def of_core(manifests: list[Manifest]) -> list[Manifest]:
    """Leave out what only CAPH's definitions, which no Go module carries, can judge."""
    group = cluster_api.INFRASTRUCTURE_GROUP
    return [each for each in manifests if not each["apiVersion"].startswith(group)]


@pytest.fixture(scope="module")
async def api(api_server: ApiServer) -> AsyncIterator[client.Client]:
    """An API server that serves the kinds of core, kubeadm and CAPD."""
    crds = [*definitions.core_definitions(), *definitions.docker_definitions()]
    async with (
        client.Client.from_kubeconfig(api_server.kubeconfig) as made,
        definitions.loaded(made, crds),
    ):
        yield made


@pytest.mark.parametrize(
    "manifests",
    [
        capd_objects(),
        capd_objects(**AUTOSCALED, **{"bex:controlPlanes": "3"}),
        capd_objects(**{"bex:mirror": '["mirror.lan:5000", "/srv"]', "bex:workers": "0"}),
        of_core(caph_objects()),
        of_core(caph_objects(**AUTOSCALED)),
        of_core(caph_objects(**{"bex:workersMin": "0", "bex:workersMax": "0"})),
    ],
    ids=["capd", "capd-autoscaled", "capd-mirror", "caph", "caph-shards", "caph-fixed"],
)
async def test_rendered_objects_are_accepted(api: client.Client, manifests: list[Manifest]) -> None:
    """Schema, bounds and CEL rules of every object, with unknown fields refused."""
    assert len(manifests) > 5
    assert await definitions.refusals(api, manifests) == []


async def test_misspelt_field_would_be_refused(api: client.Client) -> None:
    """The check above can fail."""
    manifests = copy.deepcopy(capd_objects())
    manifests[-1]["spec"]["checks"]["nodeStartupTimeoutSecond"] = 1

    (said,) = await definitions.refusals(api, manifests)
    assert "nodeStartupTimeoutSecond" in said


async def test_every_reference_names_an_object_of_the_overlay() -> None:
    """Cluster, pools and health checks point at templates that are rendered with them."""
    for manifests in (capd_objects(), caph_objects(**AUTOSCALED)):
        rendered = {(m["kind"], m["metadata"]["name"]) for m in manifests}
        asked = {
            (each["kind"], each["name"]) for m in manifests for each in references(m.get("spec"))
        }

        assert len(asked) > 4
        assert asked <= rendered


def test_changed_machine_has_another_template_name() -> None:
    """Templates cannot change; a new name makes Cluster API roll the machines."""
    overlay = caph_program.overlay(settings_of("hetzner"))
    changed = dataclasses.replace(overlay, image="bex-node-next")
    names = [
        {m["metadata"]["name"] for m in caph.render(each) if m["kind"] == "HCloudMachineTemplate"}
        for each in (overlay, changed)
    ]

    assert not names[0] & names[1]


def test_placement_groups_take_ten_servers_at_most() -> None:
    """Hetzner's limit: a larger pool is split, each part in a group with a place for a rollout."""
    overlay = caph_program.overlay(settings_of("hetzner", **AUTOSCALED))
    tenants = [pool for pool in caph.pools(overlay) if pool.name.startswith("tenant")]

    assert [pool.most for pool in tenants] == [9, 9, 7]
    assert len({pool.machine_spec["placementGroupName"] for pool in tenants}) == 3
    (cluster,) = [m for m in caph.render(overlay) if m["kind"] == "HetznerCluster"]
    listed = {group["name"] for group in cluster["spec"]["hcloudPlacementGroups"]}
    assert {pool.machine_spec["placementGroupName"] for pool in caph.pools(overlay)} < listed


def test_pools_from_zero_tell_the_autoscaler_what_a_machine_would_be() -> None:
    """Without size, labels and taints it would not know that a new machine helps."""
    (builds,) = [
        m
        for m in caph_objects()
        if m["kind"] == "MachineDeployment" and m["metadata"]["name"] == "bex-build"
    ]
    hints = builds["metadata"]["annotations"]
    capacity = "capacity.cluster-autoscaler.kubernetes.io"

    assert hints[f"{capacity}/cpu"] == "8"
    assert hints[f"{capacity}/memory"] == "16Gi"
    assert hints[f"{capacity}/labels"] == "bex.co/pool=build"
    assert hints[f"{capacity}/taints"] == "bex.co/build-only=true:NoSchedule"


def test_contract_of_the_hetzner_provider_is_one_that_core_still_serves() -> None:
    """CAPH 1.1 speaks v1beta1; core 1.14 accepts that beside its own v1beta2, until 1.16."""
    source = definitions.module_folder(definitions.CORE) / "internal/contract/version.go"
    body = source.read_text().partition("func GetCompatibleVersions")[2].partition("\n}\n")[0]
    compatible = set(re.findall(r'Insert\("(v1beta\d)"\)', body))

    assert pins.CLUSTER_API.startswith("v1.14.")
    assert pins.CAPH.startswith("v1.1.")
    assert caph.VERSION.rpartition("/")[2] in compatible
    assert cluster_api.CORE.rpartition("/")[2] == "v1beta2"


def test_digests_of_node_images_are_those_of_the_docker_provider() -> None:
    """The lock's digests stand in the module whose checksum is in go.sum."""
    mapper = definitions.module_folder(definitions.DOCKER) / "infrastructure/kind/mapper.go"
    known = set(re.findall(r'"(kindest/node:v[^"]+@sha256:[0-9a-f]{64})"', mapper.read_text()))
    ours = {pins.lock().reference(image) for image in pins.NODE_IMAGES.values()}

    assert {reference.removeprefix("docker.io/") for reference in ours} <= known


def test_programs_are_pinned_as_their_module_says() -> None:
    """The table and go.mod name one version."""
    go_mod = (definitions.MODULES / "go.mod").read_text()

    for program in pins.PROGRAMS:
        assert re.search(rf"^\s+{re.escape(program.module)} {program.version}\b", go_mod, re.M)


def references(value: Any) -> list[Manifest]:
    """Find every reference to another object."""
    if isinstance(value, list):
        return [found for each in value for found in references(each)]
    if not isinstance(value, dict):
        return []
    if {"kind", "name"} <= set(value) <= {"kind", "name", "apiGroup", "apiVersion"}:
        return [value]
    return [found for each in value.values() for found in references(each)]
