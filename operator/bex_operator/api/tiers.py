"""Sizes a replica can have; the operator sets them aside, a stack's machines must hold them."""

from collections.abc import Mapping

SIZES: Mapping[str, tuple[str, str]] = {
    "free": ("100m", "512Mi"),
    "starter": ("500m", "512Mi"),
    "standard": ("1", "2Gi"),
    "pro": ("2", "4Gi"),
    "pro-plus": ("4", "8Gi"),
    "pro-max": ("4", "16Gi"),
    "pro-ultra": ("8", "32Gi"),
}
"""CPU and memory of each tier, as Kubernetes quantities."""
