"""Registers a Kubernetes manifest as the Pulumi resource of its kind."""

from collections.abc import Mapping
from typing import Any

import pulumi


def register(
    name: str, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions
) -> pulumi.CustomResource:
    """Register *manifest* (a whole object: apiVersion, kind, metadata, …) under *name*.

    The provider goes by the type token alone, so the typed classes are not needed: importing them
    took longer than all else a preview does.
    """
    token = type_token(manifest["apiVersion"], manifest["kind"])
    return pulumi.CustomResource(token, name, dict(manifest), opts)


def type_token(api_version: str, kind: str) -> str:
    """Name a kind as the Kubernetes provider does: `kubernetes:apps/v1:Deployment`."""
    group, _, version = api_version.rpartition("/")
    return f"kubernetes:{group or 'core'}/{version}:{kind}"
