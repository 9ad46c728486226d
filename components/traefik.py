"""The edge in the app cluster: Traefik, certificates, and the way to it from this host."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components import objects
from components.manifests import charts, shapes
from components.manifests import edge as manifests

FORWARDER = "bex-edge"


@dataclass(frozen=True, slots=True)
class TraefikArgs:
    """Traefik and cert-manager in the cluster."""

    traefik: charts.Chart
    cert_manager: charts.Chart
    issuers: Sequence[shapes.Manifest]
    """Issuers and the edge's own certificate; they come after both charts."""
    folder: str
    """Where the pinned charts lie."""


class Traefik(pulumi.ComponentResource):
    """Traefik answers for the Ingress class `bex`; cert-manager keeps its certificates."""

    def __init__(
        self, name: str, args: TraefikArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:Traefik", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        installed = [
            objects.register_chart(name, chart, args.folder, child)
            for chart in (args.cert_manager, args.traefik)
        ]
        after = pulumi.ResourceOptions(parent=self, depends_on=installed)
        objects.register_all(name, args.issuers, after)
        self.register_outputs({})


@dataclass(frozen=True, slots=True)
class ForwarderArgs:
    """From ports of this host to a machine's ports 80 and 443."""

    image: str
    """An image of HAProxy."""
    address: pulumi.Input[str]
    """The machine's, on kind's network."""
    http_port: int
    https_port: int


class Forwarder(pulumi.ComponentResource):
    """A container that publishes a machine's edge on 127.0.0.1; it reads no request."""

    def __init__(
        self, name: str, args: ForwarderArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:Forwarder", name, None, opts)
        import pulumi_docker as docker

        child = pulumi.ResourceOptions(parent=self)
        image = docker.RemoteImage(f"{name}-image", name=args.image, keep_locally=True, opts=child)
        config = pulumi.Output.from_input(args.address).apply(manifests.forwarder_configuration)
        docker.Container(
            f"{name}-haproxy",
            name=FORWARDER,
            image=image.image_id,
            restart="unless-stopped",
            ports=[
                {"internal": inside, "external": outside, "ip": "127.0.0.1"}
                for inside, outside in ((80, args.http_port), (443, args.https_port))
            ],
            networks_advanced=[{"name": "kind"}],
            uploads=[{"file": manifests.FORWARDER_CONFIG, "content": config}],
            opts=child,
        )
        self.register_outputs({})
