"""What the operator needs in the app cluster: namespaces, the App kind, its rights."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components import objects
from components.manifests import operator as manifests


@dataclass(frozen=True, slots=True)
class AppOperatorArgs:
    """What the operator's objects depend on."""

    operator_user: str
    """Name the operator presents to the API server."""
    edge_user: str
    """Name the edge's feeder presents to the API server; it only reads."""


class AppOperator(pulumi.ComponentResource):
    """Namespaces, the App definition and the operator's and the edge's rights."""

    objects: Sequence[pulumi.CustomResource]
    """Everything registered, for whatever must come after it."""

    def __init__(
        self, name: str, args: AppOperatorArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:AppOperator", name, None, opts)
        self.objects = [
            objects.register(
                f"{name}-{manifest['kind'].lower()}-{manifest['metadata']['name']}",
                manifest,
                pulumi.ResourceOptions(parent=self),
            )
            for manifest in manifests.render(
                operator_user=args.operator_user, edge_user=args.edge_user
            )
        ]
        self.register_outputs({})
