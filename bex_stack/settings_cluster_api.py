"""The settings of the stacks whose machines Cluster API makes: Docker containers, servers."""

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import pydantic

from bex_stack.settings_models import Port, Settings, Texts
from components import pins, server_types
from components.manifests import builds

Location = Literal["", "fsn1", "nbg1", "hel1", "ash", "hil", "sin"]
ServerType = Annotated[str, pydantic.AfterValidator(server_types.check)]

MIRROR_PARTS = 2
_BY_DIGEST = r"^([^\s@]+@sha256:[0-9a-f]{64})?$"
KUBECONFIGS = "infra"
"""Folder of the project for the kubeconfigs of its stacks."""


class ClusterApiSettings(Settings):
    """What the stacks have in common whose machines Cluster API makes."""

    cluster_name: Annotated[str, pydantic.Field(pattern=r"^[a-z][a-z0-9-]{0,18}[a-z0-9]$")] = "bex"
    """Name of the app cluster: 2-20 of a-z, 0-9 and `-`."""
    cluster_api: Literal["clusterctl", "existing"] = "clusterctl"
    """`clusterctl`: make an infra cluster and install Cluster API on it. `existing`: use the one
    behind `bex:infraKubeconfig`, which has Cluster API and its provider already."""
    infra_kubeconfig: str = ""
    """File of the existing infra cluster's kubeconfig; only with `bex:clusterApi: existing`."""
    kubernetes_version: Annotated[str, pydantic.Field(pattern=r"^v1\.\d{1,3}\.\d{1,3}$")] = (
        pins.KUBERNETES
    )
    """Kubernetes of the app cluster, like v1.36.4; one minor version at a time when it changes."""
    control_planes: Annotated[int, pydantic.Field(ge=1, le=7)] = 1
    """Control-plane machines: 1, 3, 5 or 7; one has no high availability."""
    workers_min: Annotated[int, pydantic.Field(ge=0, le=100)] = 0
    """Fewest machines the autoscaler leaves for apps, 0-100; only with `bex:workersMax`."""
    workers_max: Annotated[int, pydantic.Field(ge=0, le=100)] = 0
    """Most machines the autoscaler makes for apps, 1-100; 0: `bex:workers` counts instead."""
    service_network: str = "10.96.0.0/16"
    """The services' network (IPv4)."""
    cni: Literal["calico", "cilium", "none"] = "calico"
    """Pod network that is installed; `none`: bring your own, machines are not Ready before."""
    unhealthy_seconds: Annotated[int, pydantic.Field(ge=60, le=7200)] = 600
    """How long a machine may be not Ready before another takes its place, 60-7200 s; less than a
    fresh machine takes to get its pod network replaces healthy ones for ever."""
    base_domain: str = ""
    """Domain below which an app with `expose: true` has its name; empty: `localhost` on capd, no
    such names on caph."""
    operator_image: str = ""
    """The operator's image; empty: built from this project (capd only). On caph by digest."""
    builder_image: Annotated[str, pydantic.Field(pattern=_BY_DIGEST)] = ""
    """Image that builds run, by digest; `bex images builder` makes and pushes it. Empty: no
    repository is built, only prebuilt images run."""
    scanner_image: Annotated[str, pydantic.Field(pattern=_BY_DIGEST)] = ""
    """Image that lists what is in a built one, by digest; made along with `bex:builderImage`."""
    mirror: Texts = ()
    """`[REGISTRY, FOLDER]` made by `bex bundle`: every image and file comes from there instead."""

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        _check_networks(self.pod_network, self.service_network)
        if self.control_planes % 2 == 0:
            raise ValueError(
                f"bex:controlPlanes is {self.control_planes}; an even number of etcd members "
                "tolerates no more failures than one less, so it must be 1, 3, 5 or 7"
            )
        if self.workers_min > self.workers_max:
            raise ValueError(
                f"bex:workersMin is {self.workers_min} and bex:workersMax {self.workers_max}; "
                "the least must not exceed the most"
            )
        if (self.cluster_api == "existing") != bool(self.infra_kubeconfig):
            raise ValueError("bex:clusterApi: existing and bex:infraKubeconfig go together")
        if bool(self.builder_image) != bool(self.scanner_image):
            raise ValueError("bex:builderImage and bex:scannerImage go together")
        for network in (self.pod_network, self.service_network) if self.builder_image else ():
            if not builds.is_inner(network):
                raise ValueError(
                    f"network {network} cannot be had with bex:builderImage: builds may go to "
                    "public addresses, and by its address it is one; take one of 10.0.0.0/8"
                )
        if len(self.mirror) not in (0, MIRROR_PARTS) or not all(self.mirror):
            raise ValueError("bex:mirror must be [REGISTRY, FOLDER]")
        return self

    def kubeconfig_file(self, stack: str) -> str:
        """Name the file with the app cluster's kubeconfig, below the project."""
        return f"{KUBECONFIGS}/{stack}/{self.cluster_name}.kubeconfig"

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Keys a preview does without and an `up` does not."""
        return ()

    @property
    def left_out(self) -> frozenset[str]:
        """Names of the pinned files and images that this stack does without."""
        networks = {"calico": pins.CALICO_CHART, "cilium": pins.CILIUM_CHART}
        others = [chart for choice, chart in networks.items() if choice != self.cni]
        groups: list[Sequence[pins.File | pins.Image]] = [others]
        if not self.is_autoscaled:
            groups.append((pins.AUTOSCALER, pins.PAUSE))
        if self.cluster_api == "existing":
            groups += [pins.PROVIDERS, pins.OF_CLUSTER_API]
        return pins.names_of(*groups)

    @property
    def is_autoscaled(self) -> bool:
        """Say whether the autoscaler, not `workers`, decides how many machines there are."""
        return self.workers_max > 0


class CapdSettings(ClusterApiSettings):
    """A stack whose machines are Docker containers on this host."""

    provider: Literal["capd"]
    """Where machines come from: `embedded` = this Linux host, `capd` = Docker containers, `caph` =
    Hetzner servers."""
    edge_http_port: Port = 8080
    """Port on 127.0.0.1 where apps answer in clear."""
    edge_https_port: Port = 8443
    """Port on 127.0.0.1 where apps answer with TLS."""
    registry_port: Port = 5050
    """Port on 127.0.0.1 of the OCI registry."""
    node_image: str = ""
    """Container image of a machine; empty: kind's for `bex:kubernetesVersion`, by digest."""
    load_balancer_image: str = ""
    """Image of the control plane's load balancer; empty: the one the pins name."""
    registry_image: str = ""
    """Image of the OCI registry; empty: the Zot that the pins name."""
    registry_url: Annotated[str, pydantic.Field(pattern=r"^(https?://[^/\s]+)?$")] = ""
    """An OCI registry of yours as machines reach it, like http://registry.lan:5000; they know it as
    `localhost:5050`. Empty: Zot runs beside them. With it `bex:operatorImage` must be set."""
    platform: Literal["charts", "none"] = "charts"
    """What the app cluster is furnished with besides its pod network: `charts` installs volumes,
    metrics, the edge and what approves kubelets' certificates; `none`: bring your own."""

    @pydantic.model_validator(mode="after")
    def _has_a_node_image(self) -> Self:
        ports = (self.edge_http_port, self.edge_https_port, self.registry_port)
        if len(set(ports)) != len(ports):
            raise ValueError("bex:edgeHttpPort, bex:edgeHttpsPort and bex:registryPort must differ")
        if self.registry_url and not self.operator_image:
            raise ValueError(
                "bex:operatorImage must be set with bex:registryUrl: nothing is pushed there"
            )
        if self.registry_url and self.builder_image:
            raise ValueError(
                "bex:builderImage cannot be set with bex:registryUrl: builds push with tokens that "
                "only the stack's own registry takes"
            )
        if not self.node_image and self.kubernetes_version not in pins.NODE_IMAGES:
            known = ", ".join(pins.NODE_IMAGES)
            raise ValueError(
                f"bex:kubernetesVersion is {self.kubernetes_version}; without bex:nodeImage it "
                f"must be one that kind has an image for: {known}"
            )
        return self

    @property
    def left_out(self) -> frozenset[str]:
        """What a person brings along takes the place of something pinned."""
        replaced: dict[pins.Image, str] = {
            pins.ZOT: self.registry_url or self.registry_image,
            pins.LOAD_BALANCER: self.load_balancer_image,
            pins.OPERATOR_BUILD: self.operator_image,
            pins.OPERATOR_RUNTIME: self.operator_image,
        }
        made = super().left_out | pins.names_of([pin for pin, own in replaced.items() if own])
        if self.platform == "charts":
            return made
        made |= pins.names_of(pins.PLATFORM_CHARTS, pins.OF_PLATFORM, pins.OF_LOCAL_PATH)
        is_unused = self.cluster_api == "existing"
        return made | pins.names_of(pins.OF_CERT_MANAGER if is_unused else ())


class CaphSettings(ClusterApiSettings):
    """A stack whose machines are Hetzner Cloud servers."""

    provider: Literal["caph"]
    """Where machines come from: `embedded` = this Linux host, `capd` = Docker containers, `caph` =
    Hetzner servers."""
    location: Location = ""
    """Hetzner location of everything: fsn1, nbg1, hel1, ash, hil or sin."""
    ssh_public_key: str = ""
    """Public key (one line) that opens the servers, for you and for day 0."""
    ssh_private_key_file: str = "~/.ssh/id_ed25519"
    """File of the matching private key; read on this host only, to fetch the kubeconfig."""
    admin_addresses: Texts = ()
    """Networks (CIDR) that reach SSH and the infra API; none: both are closed to everybody."""
    machine_image: str = ""
    """Snapshot machines start from, with kubelet and containerd of `bex:kubernetesVersion`: the
    value of its label `caph-image-name`; empty: `bex-node-VERSION`."""
    infra_server_type: ServerType = "cx23"
    """Server type of the infra cluster's one server."""
    control_plane_server_type: ServerType = "cx33"
    """Server type of control-plane machines."""
    platform_server_type: ServerType = "cx33"
    """Server type of the machines for the platform's own pods."""
    platform_machines: Annotated[int, pydantic.Field(ge=1, le=20)] = 3
    """Machines for the platform's own pods, 1-20."""
    worker_server_type: ServerType = "cx33"
    """Server type of the machines for apps."""
    build_server_type: ServerType = "cx43"
    """Server type of the machines for builds, made from zero when builds wait."""
    build_machines_max: Annotated[int, pydantic.Field(ge=0, le=20)] = 2
    """Most machines for builds, 0-20; 0: builds run where apps run."""
    fallback_server_type: ServerType = "cpx32"
    """Server type of the pool that is used when the location has none of `bex:workerServerType`."""
    fallback_location: Location = ""
    """Another location of the same network zone for that pool; empty: no such pool."""
    largest_tier: Literal["free", "starter", "standard", "pro", "pro-plus"] = "standard"
    """Largest tier an app of this stack may have; one replica must fit a worker."""
    load_balancer_type: Literal["lb11", "lb21", "lb31"] = "lb11"
    """Hetzner load balancer type of the edge and of the control plane."""
    acme_email: str = ""
    """Address Let's Encrypt writes to about certificates; required for `bex:acmeIssuer`
    production."""
    acme_issuer: Literal["staging", "production"] = "staging"
    """Let's Encrypt server; production counts certificates per week, so prove the way first."""

    @pydantic.model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if not self.location:
            raise ValueError("bex:location must be set: fsn1, nbg1, hel1, ash, hil or sin")
        if self.fallback_location:
            _check_fallback(self.location, self.fallback_location)
        for address in self.admin_addresses:
            ipaddress.ip_network(address)
        if self.operator_image and "@sha256:" not in self.operator_image:
            raise ValueError("bex:operatorImage must be given by digest: NAME@sha256:…")
        if self.acme_issuer == "production" and not self.acme_email:
            raise ValueError("bex:acmeEmail must be set with bex:acmeIssuer: production")
        server_types.check_holds(self.worker_server_type, self.largest_tier)
        return self

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Keys a preview does without and an `up` does not."""
        wanted = {"bex:operatorImage": self.operator_image}
        if self.cluster_api == "clusterctl":
            wanted["bex:sshPublicKey"] = self.ssh_public_key
        return tuple(key for key, value in wanted.items() if not value)

    @property
    def image(self) -> str:
        """Value of the label that the machines' snapshot has: snapshots have no names."""
        return self.machine_image or f"bex-node-{self.kubernetes_version}"


def _check_networks(pods: str, services: str) -> None:
    networks = [ipaddress.IPv4Network(pods), ipaddress.IPv4Network(services)]
    if networks[0].overlaps(networks[1]):
        raise ValueError(f"bex:podNetwork {pods} and bex:serviceNetwork {services} overlap")


def _check_fallback(location: str, fallback: str) -> None:
    if location == fallback:
        raise ValueError(f"bex:fallbackLocation is {fallback}, which bex:location is already")
    zones = server_types.NETWORK_ZONES
    if zones[location] != zones[fallback]:
        raise ValueError(
            f"bex:fallbackLocation {fallback} lies in {zones[fallback]} and bex:location "
            f"{location} in {zones[location]}; one private network cannot span both"
        )
