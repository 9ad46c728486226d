"""The `caph` overlay: an app cluster of Hetzner Cloud servers.

CAPH 1.1 speaks Cluster API's contract v1beta1, which core 1.14 serves until 1.16; so core's objects
are v1beta2 and CAPH's v1beta1.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from components import server_types
from components.manifests import cluster_api, registries, shapes

VERSION = "infrastructure.cluster.x-k8s.io/v1beta1"
SECRET, TOKEN_KEY = "hetzner", "hcloud"
"""Secret with the API token, and the key in it; CAPH copies it into the app cluster."""
CLUSTER_KIND = "HetznerCluster"
NETWORK = "10.10.0.0/16"
SUBNET = "10.10.0.0/24"
GROUP_SIZE = 10
"""Servers a placement group of Hetzner takes."""
SHARD_SIZE = GROUP_SIZE - 1
"""Machines of one pool: a rollout adds one before it removes one, and that one needs a place."""
POOL_LABEL = "bex.co/pool"
BUILD_POOL = "build"
PLATFORM_TAINT = cluster_api.Taint("bex.co/platform", "true")
BUILD_TAINT = cluster_api.Taint("bex.co/build-only", "true")
REGISTRY_URL = "http://127.0.0.1:30500"
"""Zot's node port: a kubelet resolves by the machine's DNS and cannot use the cluster's."""
PLACEHOLDER = "10.10.255.254"
"""Stands for a machine's private address, which is known only once it has started."""
_ADDRESS = "/run/bex-private-address"

KUBELET_ARGS = {
    "cloud-provider": "external",
    "rotate-server-certificates": "true",
    "max-pods": "220",
    "node-ip": PLACEHOLDER,
}


@dataclass(frozen=True, slots=True)
class Overlay:
    """What the overlay depends on."""

    cluster: cluster_api.Cluster
    location: str
    image: str
    ssh_key: str
    """Name of the key in the Hetzner project."""
    load_balancer_type: str
    control_plane_type: str
    platform: tuple[str, int]
    """Server type and number of the platform's machines."""
    workers: tuple[str, int | None, int, int]
    """Server type, number or None, least and most of the machines for apps."""
    builds: tuple[str, int]
    """Server type and most of the machines for builds."""
    fallback: tuple[str, str] | None
    """Server type and location of the pool that steps in when the location is sold out."""
    mirror: str | None
    login: str = ""
    """Secret with what machines need for our registry; empty: nothing."""


def render(overlay: Overlay) -> list[shapes.Manifest]:
    """Render every object of the overlay, each after what it refers to; no Secret among them."""
    remediation = _remediation(overlay.cluster.name)
    machines = _machines(overlay, remediation)
    machine = _machine(overlay, overlay.control_plane_type, _group("control-plane", 0))
    made = [
        shapes.namespace(cluster_api.NAMESPACE),
        _hetzner_cluster(overlay),
        remediation,
        *cluster_api.control_plane(overlay.cluster, machines, "HCloudMachineTemplate", machine),
        cluster_api.cluster(overlay.cluster),
    ]
    for pool in pools(overlay):
        made += cluster_api.pool(overlay.cluster, machines, pool)
    return [*made, cluster_api.control_plane_health_check(overlay.cluster)]


def pools(overlay: Overlay) -> list[cluster_api.Pool]:
    """Describe the pools; one that may grow beyond a placement group is split in shards."""
    kind, number, least, most = overlay.workers
    made = [
        _pool(overlay, "platform", overlay.platform[0], (overlay.platform[1], 0, 0)),
        *_shards(overlay, "tenant", kind, (number, least, most)),
    ]
    if overlay.builds[1]:
        made.append(_pool(overlay, "build", overlay.builds[0], (None, 0, overlay.builds[1])))
    if overlay.fallback is not None and number is None:
        kind, location = overlay.fallback
        made += [
            _pool(overlay, "fallback", kind, (None, 0, min(most, SHARD_SIZE)), location=location)
        ]
    return made


def placement_groups(overlay: Overlay) -> list[str]:
    """Name the placement groups that the machines use."""
    names = [_group("control-plane", 0)]
    names += [str(pool.machine_spec["placementGroupName"]) for pool in pools(overlay)]
    return list(dict.fromkeys(names))


def secret(token: object) -> shapes.Manifest:
    """Render the Secret with the API token; CAPH copies it into the app cluster.

    *token* may be anything that stands for the text, such as a Pulumi output.
    """
    return shapes.make(
        "v1",
        "Secret",
        SECRET,
        {"type": "Opaque", "stringData": {TOKEN_KEY: token}},
        namespace=cluster_api.NAMESPACE,
        # clusterctl takes what carries this label along when it moves a cluster.
        labels={"clusterctl.cluster.x-k8s.io/move": ""},
    )


def _hetzner_cluster(overlay: Overlay) -> shapes.Manifest:
    spec = {
        "hcloudNetwork": {
            "enabled": True,
            "cidrBlock": NETWORK,
            "subnetCidrBlock": SUBNET,
            "networkZone": server_types.NETWORK_ZONES[overlay.location],
        },
        "controlPlaneRegions": [overlay.location],
        "controlPlaneLoadBalancer": {
            "enabled": True,
            "port": 6443,
            "region": overlay.location,
            "type": overlay.load_balancer_type,
        },
        "hcloudPlacementGroups": [
            {"name": name, "type": "spread"} for name in placement_groups(overlay)
        ],
        "sshKeys": {"hcloud": [{"name": overlay.ssh_key}]},
        "hetznerSecretRef": {"name": SECRET, "key": {"hcloudToken": TOKEN_KEY}},
    }
    return shapes.make(
        VERSION,
        CLUSTER_KIND,
        overlay.cluster.name,
        {"spec": spec},
        namespace=cluster_api.NAMESPACE,
    )


def _remediation(name: str) -> shapes.Manifest:
    strategy = {"type": "Reboot", "retryLimit": 1, "timeout": "180s"}
    content = {"template": {"spec": {"strategy": strategy}}}
    return shapes.make(
        VERSION,
        "HCloudRemediationTemplate",
        shapes.versioned(name, content),
        {"spec": content},
        namespace=cluster_api.NAMESPACE,
    )


def _machines(overlay: Overlay, remediation: shapes.Manifest) -> cluster_api.Machines:
    kind, name = remediation["kind"], remediation["metadata"]["name"]
    return cluster_api.Machines(
        machine_version=VERSION,
        kubelet_args=KUBELET_ARGS,
        files=registries.host_files(REGISTRY_URL, overlay.mirror, overlay.login),
        commands=_use_private_address(),
        patches={"controllerManager": {"cloud-provider": "external"}},
        advertised=PLACEHOLDER,
        remediation={"apiVersion": VERSION, "kind": kind, "name": name},
    )


def _use_private_address() -> list[str]:
    """Commands that wait for the machine's private address and put it where it is wanted.

    Public addresses stop working as soon as the firewall closes them; a machine without a private
    one after two minutes fails here, and is replaced, rather than joining unreachable.
    """
    prefix = ".".join(NETWORK.split(".")[:2])
    find = f"ip -4 -o addr show | grep -o '{prefix}\\.[0-9]*\\.[0-9]*/' | head -1 | tr -d /"
    wait = f"for i in $(seq 60); do {find} > {_ADDRESS}; [ -s {_ADDRESS} ] && break; sleep 2; done"
    return [
        f"{wait}; [ -s {_ADDRESS} ]",
        f"sed -i s/{PLACEHOLDER}/$(cat {_ADDRESS})/g /run/kubeadm/*.yaml",
    ]


def _shards(
    overlay: Overlay, name: str, kind: str, counts: tuple[int | None, int, int]
) -> Iterator[cluster_api.Pool]:
    number, least, most = counts
    total = most if number is None else number
    shards = max(1, math.ceil(total / SHARD_SIZE))
    for shard in range(shards):
        rest = min(SHARD_SIZE, total - shard * SHARD_SIZE)
        own = (None, least if shard == 0 else 0, rest) if number is None else (rest, 0, 0)
        yield _pool(overlay, f"{name}-{shard}", kind, own)


def _pool(
    overlay: Overlay,
    name: str,
    kind: str,
    counts: tuple[int | None, int, int],
    *,
    location: str | None = None,
) -> cluster_api.Pool:
    size = server_types.TYPES[kind]
    role = name.partition("-")[0]
    labels = {POOL_LABEL: role if role in {"platform", BUILD_POOL} else "tenant"}
    return cluster_api.Pool(
        name=name,
        machine_kind="HCloudMachineTemplate",
        machine_spec=_machine(overlay, kind, name),
        replicas=counts[0],
        least=counts[1],
        most=counts[2],
        labels=labels,
        taints=_taints(role),
        size=cluster_api.Size(size.cpus, size.memory_gib, size.disk_gib),
        failure_domain=location or overlay.location,
    )


def _taints(role: str) -> Sequence[cluster_api.Taint]:
    return {"platform": (PLATFORM_TAINT,), "build": (BUILD_TAINT,)}.get(role, ())


def _group(name: str, shard: int) -> str:
    return name if shard == 0 else f"{name}-{shard}"


def _machine(overlay: Overlay, kind: str, group: str) -> dict[str, str]:
    return {"type": kind, "imageName": overlay.image, "placementGroupName": group}
