"""The `capd` overlay: an app cluster whose machines are Docker containers (contract v1beta2)."""

from dataclasses import dataclass

from components.manifests import cluster_api, registries, shapes

VERSION = "infrastructure.cluster.x-k8s.io/v1beta2"
CLUSTER_KIND = "DevCluster"
POOL = "worker-0"

KUBELET_ARGS = {
    "rotate-server-certificates": "true",
    # Machines share this host's disk; its being full is nothing an eviction would mend.
    "eviction-hard": "nodefs.available<0%,nodefs.inodesFree<0%,imagefs.available<0%",
    # Docker hosts with cgroup v1 are still about; on v2 it says nothing.
    "fail-cgroupv1": "false",
}


@dataclass(frozen=True, slots=True)
class Overlay:
    """What the overlay depends on."""

    cluster: cluster_api.Cluster
    node_image: str
    load_balancer_image: str
    """REPOSITORY/haproxy:TAG; the provider asks for repository and tag apart."""
    registry_url: str
    """Our registry as a machine reaches it, on the network `kind`."""
    mirror: str | None
    workers: int | None
    """Machines for apps; None when the autoscaler decides between the two bounds."""
    workers_min: int = 0
    workers_max: int = 0
    login: str = ""
    """Secret with what machines need for our registry; empty: nothing."""


def render(overlay: Overlay) -> list[shapes.Manifest]:
    """Render every object of the overlay, each after what it refers to."""
    machines = _machines(overlay)
    machine = {"backend": {"docker": {"customImage": overlay.node_image}}}
    workers = cluster_api.Pool(
        name=POOL,
        machine_kind="DevMachineTemplate",
        machine_spec=machine,
        replicas=overlay.workers,
        least=overlay.workers_min,
        most=overlay.workers_max,
        size=cluster_api.Size(cpus=2, memory_gib=4, disk_gib=20),
    )
    return [
        shapes.namespace(cluster_api.NAMESPACE),
        _dev_cluster(overlay),
        *cluster_api.control_plane(overlay.cluster, machines, "DevMachineTemplate", machine),
        cluster_api.cluster(overlay.cluster),
        *cluster_api.pool(overlay.cluster, machines, workers),
        cluster_api.control_plane_health_check(overlay.cluster),
    ]


def load_balancer(name: str) -> str:
    """Name the container in front of the control plane."""
    return f"{name}-lb"


def _machines(overlay: Overlay) -> cluster_api.Machines:
    return cluster_api.Machines(
        machine_version=VERSION,
        kubelet_args=KUBELET_ARGS,
        files=registries.host_files(overlay.registry_url, overlay.mirror, overlay.login),
    )


def _dev_cluster(overlay: Overlay) -> shapes.Manifest:
    repository, _, tag = overlay.load_balancer_image.partition("@")[0].rpartition(":")
    balancer = {"imageRepository": repository.rpartition("/")[0], "imageTag": tag}
    spec = {"backend": {"docker": {"loadBalancer": balancer}}}
    return shapes.make(
        VERSION,
        CLUSTER_KIND,
        overlay.cluster.name,
        {"spec": spec},
        namespace=cluster_api.NAMESPACE,
    )
