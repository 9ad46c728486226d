"""The app cluster: described on the infra cluster, made by Cluster API, furnished by charts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components import objects
from components.dynamic import kubeconfigs
from components.manifests import charts, cluster_api, shapes

READY_MINUTES = 30


@dataclass(frozen=True, slots=True)
class AppClusterArgs:
    """What an app cluster is made of."""

    name: str
    infra_kubeconfig: pulumi.Input[str]
    infra: pulumi.ProviderResource
    overlay: Sequence[shapes.Manifest]
    """Cluster API's objects, in order."""
    secrets: Sequence[shapes.Manifest]
    """Secrets that the overlay names; they come before it."""
    charts: Sequence[charts.Chart]
    """The pod network first, then what needs it."""
    storage: Sequence[shapes.Manifest]
    folder: str
    """Where the pinned charts lie."""
    load_balancer: str
    """Container whose published port leads to the API server; empty: the kubeconfig's address."""
    kubeconfig_file: str


class AppCluster(pulumi.ComponentResource):
    """Cluster API's objects, the way to talk to what they become, and its platform."""

    kubeconfig: pulumi.Output[str]
    kubernetes: pulumi.ProviderResource
    address: pulumi.Output[str]
    """A control-plane machine's."""
    furnished: Sequence[pulumi.Resource]
    """Everything installed, for whatever must come after it."""

    def __init__(
        self, name: str, args: AppClusterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:AppCluster", name, None, opts)
        described = self._describe(name, args)
        reached = kubeconfigs.AppKubeconfig(
            f"{name}-kubeconfig",
            cluster=args.name,
            namespace=cluster_api.NAMESPACE,
            infra_kubeconfig=args.infra_kubeconfig,
            load_balancer=args.load_balancer,
            file=args.kubeconfig_file,
            opts=pulumi.ResourceOptions(parent=self, depends_on=described),
        )
        self.kubeconfig = pulumi.Output.secret(reached.kubeconfig)
        self.address = reached.address
        self.kubernetes = objects.provider(
            name, self.kubeconfig, pulumi.ResourceOptions(parent=self)
        )
        self.furnished = self._furnish(name, args, reached)
        self.register_outputs({"kubeconfig": self.kubeconfig, "address": self.address})

    def _describe(self, name: str, args: AppClusterArgs) -> list[pulumi.Resource]:
        """Register the overlay one after another, and wait for nothing but the Cluster.

        Objects of a rollout must not be waited for: a Machine is not Ready before there is a pod
        network, which comes later.
        """
        made: list[pulumi.Resource] = []
        for manifest in (*args.overlay[:1], *args.secrets, *args.overlay[1:]):
            made.append(
                objects.register(
                    f"{name}-{manifest['kind'].lower()}-{manifest['metadata']['name']}",
                    _annotated(manifest),
                    pulumi.ResourceOptions(
                        parent=self,
                        provider=args.infra,
                        depends_on=made[-1:],
                        custom_timeouts=pulumi.CustomTimeouts(delete=f"{READY_MINUTES}m"),
                    ),
                )
            )
        return made

    def _furnish(
        self, name: str, args: AppClusterArgs, reached: pulumi.Resource
    ) -> list[pulumi.Resource]:
        """Install the charts one after another, then storage; all of it goes with the cluster."""
        made: list[pulumi.Resource] = []
        for chart in args.charts:
            options = pulumi.ResourceOptions(
                parent=self,
                provider=self.kubernetes,
                depends_on=made[-1:],
                deleted_with=reached,
            )
            made.append(objects.register_chart(name, chart, args.folder, options))
        options = pulumi.ResourceOptions(
            parent=self, provider=self.kubernetes, depends_on=made[-1:], deleted_with=reached
        )
        return [*made, *objects.register_all(name, args.storage, options)]


_ANNOTATIONS = {
    "pulumi.com/skipAwait": "true",
    # Deleted in the foreground, as Pulumi does by itself, a Cluster would take its infrastructure
    # along before its machines, which then can never go: Cluster API keeps the order itself.
    "pulumi.com/deletionPropagationPolicy": "background",
}


def _annotated(manifest: shapes.Manifest) -> dict[str, Any]:
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), **_ANNOTATIONS}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}
