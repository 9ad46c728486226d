"""What a stack makes at Hetzner, by day 0 and by Cluster API: pure, from its settings alone.

A test compares it with what the program registers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bex_stack import settings_cluster_api as models
from components import pins
from components.manifests import caph

STACK_LABEL = "bex-stack"
"""Carried by everything of day 0, and by every volume of the stack's claims."""
REGISTRY_GIB = 100
INFRA = "infra"
KINDS = (
    "servers",
    "load_balancers",
    "networks",
    "firewalls",
    "placement_groups",
    "ssh_keys",
    "volumes",
    "primary_ips",
    "floating_ips",
    "certificates",
    "images",
)
"""Every kind of thing that a project holds and a stack could leave behind."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Servers that are alike."""

    pool: str
    type: str
    location: str
    least: int
    most: int
    group: str
    """Name of their placement group."""
    setting: str
    """The key of the stack file that chooses the type."""
    counted_by: str
    """The key that says how many."""


@dataclass(frozen=True, slots=True)
class Balancer:
    """A load balancer and how many servers may be behind it."""

    name: str
    type: str
    location: str
    targets: int


@dataclass(frozen=True, slots=True)
class Name:
    """A name that has to be free, or ours."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything a stack makes at Hetzner."""

    stack: str
    cluster: str
    servers: tuple[Servers, ...]
    balancers: tuple[Balancer, ...]
    volumes_gib: tuple[int, ...]
    names: tuple[Name, ...]
    machine_image: str
    infra_image: str | None
    """None where somebody else brings the infra cluster."""
    ssh_public_key: str

    @property
    def owned_label(self) -> str:
        """Label that CAPH gives to everything it makes for the cluster."""
        return f"caph-cluster-{self.cluster}"

    @property
    def machines(self) -> int:
        """Most machines of the app cluster."""
        return sum(each.most for each in self.servers if each.pool != INFRA)


def of(settings: models.CaphSettings, stack: str, overlay: caph.Overlay) -> Inventory:
    """List what *stack* makes; *overlay* is what the program renders of the same settings."""
    cluster, makes_infra = settings.cluster_name, settings.cluster_api == "clusterctl"
    servers = tuple(_servers(settings, overlay, makes_infra=makes_infra))
    workers = sum(e.most for e in servers if e.pool not in (INFRA, "control-plane"))
    kind, place = settings.load_balancer_type, settings.location
    return Inventory(
        stack=stack,
        cluster=cluster,
        servers=servers,
        balancers=(
            Balancer(f"{cluster}-kube-apiserver", kind, place, settings.control_planes),
            Balancer(f"{cluster}-edge", kind, place, workers),
        ),
        volumes_gib=(REGISTRY_GIB,),
        names=tuple(_names(cluster, overlay, makes_infra=makes_infra)),
        machine_image=settings.image,
        infra_image=pins.CLOUD_IMAGES[INFRA] if makes_infra else None,
        ssh_public_key=settings.ssh_public_key,
    )


_SETTINGS = {
    "platform": ("bex:platformServerType", "bex:platformMachines"),
    "tenant": ("bex:workerServerType", "bex:workersMax"),
    "build": ("bex:buildServerType", "bex:buildMachinesMax"),
    "fallback": ("bex:fallbackServerType", "bex:workersMax"),
}


def _servers(
    settings: models.CaphSettings, overlay: caph.Overlay, *, makes_infra: bool
) -> Iterator[Servers]:
    cluster, place = settings.cluster_name, settings.location
    if makes_infra:
        group, key = f"{cluster}-infra-0", "bex:infraServerType"
        yield Servers(INFRA, settings.infra_server_type, place, 1, 1, group, key, key)
    planes = settings.control_planes
    yield Servers(
        pool="control-plane",
        type=settings.control_plane_server_type,
        location=place,
        least=planes,
        most=planes,
        group=f"{cluster}-control-plane",
        setting="bex:controlPlaneServerType",
        counted_by="bex:controlPlanes",
    )
    for pool in caph.pools(overlay):
        key, counted_by = _SETTINGS[pool.name.partition("-")[0]]
        fixed = pool.replicas
        if fixed is not None and pool.name.startswith("tenant"):
            counted_by = "bex:workers"
        yield Servers(
            pool=pool.name,
            type=str(pool.machine_spec["type"]),
            location=pool.failure_domain or place,
            least=pool.least if fixed is None else fixed,
            most=pool.most if fixed is None else fixed,
            group=f"{cluster}-{pool.machine_spec['placementGroupName']}",
            setting=key,
            counted_by=counted_by,
        )


def _names(cluster: str, overlay: caph.Overlay, *, makes_infra: bool) -> Iterator[Name]:
    if makes_infra:
        yield Name("ssh_keys", cluster)
        yield Name("networks", f"{cluster}-infra")
        yield Name("firewalls", f"{cluster}-infra")
        yield Name("firewalls", f"{cluster}-machines")
        yield Name("primary_ips", f"{cluster}-infra")
        yield Name("placement_groups", f"{cluster}-infra-0")
        yield Name("servers", f"{cluster}-infra-0")
    yield Name("networks", cluster)
    yield Name("load_balancers", f"{cluster}-edge")
    for group in caph.placement_groups(overlay):
        yield Name("placement_groups", f"{cluster}-{group}")
