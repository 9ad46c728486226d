"""Manifests and configuration of the edge."""

from components.manifests import shapes

CLASS = "bex"
"""Ingress class of every App's Ingress."""
FORWARDER_CONFIG = "/usr/local/etc/haproxy/haproxy.cfg"
"""Where HAProxy's image looks for its configuration."""


def ingress_class() -> shapes.Manifest:
    """Render the IngressClass that the edge's feeder serves."""
    return shapes.make(
        "networking.k8s.io/v1", "IngressClass", CLASS, {"spec": {"controller": "app.bex.co/edge"}}
    )


def forwarder_configuration(address: str) -> str:
    """Render HAProxy's configuration: TCP from ports 80 and 443 to those of *address*."""
    lines = [
        "defaults",
        "  mode tcp",
        "  timeout connect 5s",
        "  timeout client 1h",
        "  timeout server 1h",
    ]
    for port in (80, 443):
        lines += ["", f"listen port-{port}", f"  bind :{port}", f"  server edge {address}:{port}"]
    return "\n".join(lines) + "\n"
