"""The edge's object in the app cluster: the Ingress class its feeder answers for."""

import pulumi

from components import objects
from components.manifests import edge as manifests


class Edge(pulumi.ComponentResource):
    """The Ingress class `bex`."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bex:components:Edge", name, None, opts)
        objects.register(
            f"{name}-class", manifests.ingress_class(), pulumi.ResourceOptions(parent=self)
        )
        self.register_outputs({})
