"""Manifests of the edge."""

from typing import Any

CLASS = "bex"
"""Ingress class of every App's Ingress."""


def ingress_class() -> dict[str, Any]:
    """Render the IngressClass that the edge's feeder serves."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": CLASS},
        "spec": {"controller": "app.bex.co/edge"},
    }
