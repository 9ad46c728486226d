"""Registers Kubernetes manifests and Helm charts as the Pulumi resources of their kinds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pulumi

if TYPE_CHECKING:
    from components.manifests import charts  # with the pins: the embedded stack has neither

CHART_SECONDS = 600


def register(
    name: str, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions
) -> pulumi.CustomResource:
    """Register *manifest* (a whole object: apiVersion, kind, metadata, …) under *name*.

    The provider goes by the type token alone, so the typed classes are not needed: importing them
    took longer than all else a preview does.
    """
    token = type_token(manifest["apiVersion"], manifest["kind"])
    if manifest["kind"] == "Secret":
        hidden = pulumi.ResourceOptions(additional_secret_outputs=["data", "stringData"])
        opts = pulumi.ResourceOptions.merge(opts, hidden)
    return pulumi.CustomResource(token, name, dict(manifest), opts)


def register_all(
    prefix: str, manifests: Sequence[Mapping[str, Any]], opts: pulumi.ResourceOptions
) -> list[pulumi.CustomResource]:
    """Register *manifests* in order; each name tells kind, namespace and name."""
    return [register(f"{prefix}-{_label(each)}", each, opts) for each in manifests]


def register_chart(
    prefix: str, chart: "charts.Chart", folder: str, opts: pulumi.ResourceOptions
) -> pulumi.CustomResource:
    """Register a Helm release of a chart that lies as a file in *folder*, and wait for it."""
    inputs = {
        "name": chart.name,
        "namespace": chart.namespace,
        "createNamespace": True,
        "chart": f"{folder}/{chart.file.name}",
        "values": dict(chart.values),
        # A null takes a default of the chart away.
        "allowNullValues": True,
        "timeout": CHART_SECONDS,
        "cleanupOnFail": True,
        "waitForJobs": True,
    }
    return pulumi.CustomResource(
        "kubernetes:helm.sh/v3:Release", f"{prefix}-{chart.name}", inputs, opts
    )


def provider(
    name: str, kubeconfig: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> pulumi.ProviderResource:
    """Make the provider of a cluster, by its kubeconfig (text or path)."""
    import pulumi_kubernetes

    return pulumi_kubernetes.Provider(name, kubeconfig=kubeconfig, opts=opts)


def type_token(api_version: str, kind: str) -> str:
    """Name a kind as the Kubernetes provider does: `kubernetes:apps/v1:Deployment`."""
    group, _, version = api_version.rpartition("/")
    return f"kubernetes:{group or 'core'}/{version}:{kind}"


def _label(manifest: Mapping[str, Any]) -> str:
    metadata = manifest["metadata"]
    parts = (manifest["kind"].lower(), metadata.get("namespace"), metadata["name"])
    return "-".join(part for part in parts if part)
