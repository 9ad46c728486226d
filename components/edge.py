"""The edge: how requests from outside come to Apps, on each substrate."""

import pulumi

from components import objects
from components.manifests import edge as manifests

FORWARDER = "bex-edge"


class Edge(pulumi.ComponentResource):
    """The Ingress class `bex`."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bex:components:Edge", name, None, opts)
        objects.register(
            f"{name}-class", manifests.ingress_class(), pulumi.ResourceOptions(parent=self)
        )
        self.register_outputs({})
