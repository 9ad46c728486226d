"""App objects of a stack."""

from collections.abc import Sequence
from typing import Any

from bex_operator import api

WAIT_FOR = "pulumi.com/waitFor"
"""Annotation of the Kubernetes provider: the resource is done when this holds."""
PATCH_FORCE = "pulumi.com/patchForce"
"""Another one: what the program says of a field counts, whoever has set it since. Else the next
change of an App that somebody scaled by `kubectl scale` would be refused."""


def render(apps: Sequence[api.App], namespace: str) -> list[dict[str, Any]]:
    """Render `app.bex.co/v1alpha1` App objects, in the order given.

    An App that is parked (`suspended`) never becomes Ready, so only the others are waited for.
    """
    return [_annotated(app, app.manifest(namespace)) for app in apps]


def _annotated(app: api.App, manifest: dict[str, Any]) -> dict[str, Any]:
    metadata = manifest["metadata"]
    awaited = {} if app.suspended else {WAIT_FOR: "condition=Ready"}
    annotations = {**metadata.get("annotations", {}), PATCH_FORCE: "true", **awaited}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}
