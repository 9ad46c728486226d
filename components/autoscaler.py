"""Machines that follow the load: Cluster Autoscaler, and a slot it keeps free."""

from dataclasses import dataclass

import pulumi

from components import objects
from components.manifests import autoscaler as manifests


@dataclass(frozen=True, slots=True)
class AutoscalerArgs:
    """Whose machines, and with which programs."""

    cluster_name: str
    image: str
    pause_image: str
    headroom_namespace: str
    infra: pulumi.ProviderResource
    apps: pulumi.ProviderResource


class Autoscaler(pulumi.ComponentResource):
    """The autoscaler on the infra cluster, the headroom pod in the app cluster."""

    def __init__(
        self, name: str, args: AutoscalerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:Autoscaler", name, None, opts)
        objects.register_all(
            name,
            manifests.render(args.cluster_name, args.image),
            pulumi.ResourceOptions(parent=self, provider=args.infra),
        )
        objects.register_all(
            name,
            manifests.headroom(args.headroom_namespace, args.pause_image),
            pulumi.ResourceOptions(parent=self, provider=args.apps),
        )
        self.register_outputs({})
