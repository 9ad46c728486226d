"""What a stack makes at Hetzner, compared with what its program registers."""

import json
from typing import Any

from bex_stack import program, stack_files
from components.manifests import caph
from tests.bex_stack.hetzner import examples
from tests.support import pulumi_recorder

TYPES = {
    "hcloud:index/sshKey:SshKey": "ssh_keys",
    "hcloud:index/network:Network": "networks",
    "hcloud:index/firewall:Firewall": "firewalls",
    "hcloud:index/primaryIp:PrimaryIp": "primary_ips",
    "hcloud:index/placementGroup:PlacementGroup": "placement_groups",
    "hcloud:index/server:Server": "servers",
    "hcloud:index/loadBalancer:LoadBalancer": "load_balancers",
}


def record(**config: str) -> pulumi_recorder.Recording:
    """Record the checked-in stack, with further settings."""
    given = stack_files.read_config(examples.ROOT / "Pulumi.hetzner.yaml")
    more = {f"bex:{key}": value for key, value in config.items()}
    return pulumi_recorder.record(program.deploy, stack="hetzner", config={**given, **more})


def spec(each: pulumi_recorder.Registered) -> dict[str, Any]:
    """Return the `spec` of a Kubernetes object."""
    found: dict[str, Any] = json.loads(json.dumps(each.inputs["spec"]))
    return found


def test_names_are_those_that_day_0_registers_and_caph_gives() -> None:
    """Nothing is made that the pre-flight does not know of."""
    recording = record()
    made = {
        (TYPES[each.type], each.inputs["name"])
        for each in recording.resources
        if each.type in TYPES
    }
    (cluster,) = recording.of_type(f"kubernetes:{caph.VERSION}:HetznerCluster")
    groups = {f"bex-{each['name']}" for each in spec(cluster)["hcloudPlacementGroups"]}
    by_caph = {("networks", "bex"), *(("placement_groups", name) for name in groups)}

    names = {(each.kind, each.name) for each in examples.wanted().names}
    assert names == made | by_caph


def test_servers_are_those_of_day_0_and_of_every_pool() -> None:
    """Types, places and numbers come out of the rendered objects, the other way round."""
    config = {"workersMax": "25", "buildMachinesMax": "3"}
    recording = record(**config)
    (server,) = recording.of_type("hcloud:index/server:Server")
    (plane,) = recording.of_type(
        "kubernetes:controlplane.cluster.x-k8s.io/v1beta2:KubeadmControlPlane"
    )
    templates = {
        each.inputs["metadata"]["name"]: spec(each)["template"]["spec"]
        for each in recording.of_type(f"kubernetes:{caph.VERSION}:HCloudMachineTemplate")
    }
    group = "cluster.x-k8s.io/cluster-api-autoscaler-node-group"
    found = {("infra", server.inputs["serverType"], server.inputs["location"], 1)}
    found.add(("control-plane", "cx33", "fsn1", spec(plane)["replicas"]))
    for each in recording.of_type("kubernetes:cluster.x-k8s.io/v1beta2:MachineDeployment"):
        machine = spec(each)["template"]["spec"]
        kind = templates[machine["infrastructureRef"]["name"]]["type"]
        annotations = each.inputs["metadata"].get("annotations", {})
        most = spec(each).get("replicas") or int(annotations[f"{group}-max-size"])
        name = each.inputs["metadata"]["name"].removeprefix("bex-")
        found.add((name, kind, machine["failureDomain"], most))

    servers = examples.wanted(**config).servers
    assert found == {(each.pool, each.type, each.location, each.most) for each in servers}
    assert len(found) >= 8


def test_volume_of_the_registry_has_the_size_that_is_paid_for() -> None:
    """And volumes carry the stack's label, by which the audit finds them."""
    recording = record()
    (zot,) = [
        each
        for each in recording.of_type("kubernetes:apps/v1:StatefulSet")
        if each.inputs["metadata"]["name"] == "zot"
    ]
    (claim,) = spec(zot)["volumeClaimTemplates"]
    (driver,) = [
        each
        for each in recording.of_type("kubernetes:helm.sh/v3:Release")
        if each.inputs["name"] == "hcloud-csi"
    ]

    gib = examples.wanted().volumes_gib
    assert [claim["spec"]["resources"]["requests"]["storage"]] == [f"{each}Gi" for each in gib]
    labels = driver.inputs["values"]["controller"]["volumeExtraLabels"]
    assert labels == {"bex-stack": "hetzner"}
