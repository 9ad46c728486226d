"""The infra cluster: where Cluster API runs and keeps the description of the app cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components import objects, pins
from components.dynamic import clusterctl, kind

NAME = "bex-mgmt"
"""Name of the kind cluster; its node is `bex-mgmt-control-plane`."""

_KUBEADM = (
    clusterctl.Provider("cluster-api", "CoreProvider", pins.CLUSTER_API, pins.CORE[0].name),
    clusterctl.Provider("kubeadm", "BootstrapProvider", pins.CLUSTER_API, pins.BOOTSTRAP[0].name),
    clusterctl.Provider(
        "kubeadm", "ControlPlaneProvider", pins.CLUSTER_API, pins.CONTROL_PLANE[0].name
    ),
)
PROVIDERS = {
    "capd": (
        *_KUBEADM,
        clusterctl.Provider(
            "docker", "InfrastructureProvider", pins.CLUSTER_API, pins.DOCKER[0].name
        ),
    ),
    "caph": (
        *_KUBEADM,
        clusterctl.Provider("hetzner", "InfrastructureProvider", pins.CAPH, pins.HETZNER[0].name),
    ),
}
"""What `clusterctl init` installs, by the stack's provider."""


@dataclass(frozen=True, slots=True)
class KindClusterArgs:
    """A kind cluster on this host's Docker."""

    image: str
    """Node image, by digest."""


class KindCluster(pulumi.ComponentResource):
    """The kind cluster `bex-mgmt`, which reaches this host's Docker."""

    kubeconfig: pulumi.Output[str]

    def __init__(
        self, name: str, args: KindClusterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:KindCluster", name, None, opts)
        cluster = kind.KindCluster(
            f"{name}-kind",
            cluster=NAME,
            image=args.image,
            configuration=kind.configuration("kindnet"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.kubeconfig = pulumi.Output.secret(cluster.kubeconfig)
        self.register_outputs({"kubeconfig": self.kubeconfig})


@dataclass(frozen=True, slots=True)
class InfraClusterArgs:
    """A cluster that becomes, or already is, Cluster API's."""

    kubeconfig: pulumi.Input[str]
    providers: Sequence[clusterctl.Provider]
    """What to install; none on a cluster that has it already."""
    folder: str
    """Where the pinned files lie."""


class InfraCluster(pulumi.ComponentResource):
    """Cluster API on a cluster, and the way to talk to it."""

    kubeconfig: pulumi.Output[str]
    kubernetes: pulumi.ProviderResource
    """Provider for objects on the infra cluster; they come after Cluster API."""

    def __init__(
        self, name: str, args: InfraClusterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:InfraCluster", name, None, opts)
        self.kubeconfig = pulumi.Output.secret(args.kubeconfig)
        installed = [
            clusterctl.ClusterApi(
                f"{name}-cluster-api",
                cluster=NAME,
                kubeconfig=self.kubeconfig,
                providers=args.providers,
                folder=args.folder,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for _ in args.providers[:1]
        ]
        self.kubernetes = objects.provider(
            name, self.kubeconfig, pulumi.ResourceOptions(parent=self, depends_on=installed)
        )
        self.register_outputs({"kubeconfig": self.kubeconfig})
