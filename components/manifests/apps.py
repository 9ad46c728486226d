"""App objects of a stack."""

from collections.abc import Sequence
from typing import Any

from bex_operator import api

WAIT_FOR = "pulumi.com/waitFor"
"""Annotation of the Kubernetes provider: the resource is done when this holds."""


def render(apps: Sequence[api.App], namespace: str) -> list[dict[str, Any]]:
    """Render `app.bex.co/v1alpha1` App objects, in the order given.

    An App that is parked (`suspended`) never becomes Ready, so only the others are waited for.
    """
    return [_awaited(app, app.manifest(namespace)) for app in apps]


def _awaited(app: api.App, manifest: dict[str, Any]) -> dict[str, Any]:
    if app.suspended:
        return manifest
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), WAIT_FOR: "condition=Ready"}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}
