"""Registers a Kubernetes manifest as the typed Pulumi resource of its kind."""

import importlib
import re
from collections.abc import Mapping
from typing import Any, cast

import pulumi

_BUILT_IN = re.compile(r"^(v1|[a-z]+/v\w+|[a-z.]+\.k8s\.io/v\w+)$")


def register(
    name: str, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions
) -> pulumi.CustomResource:
    """Register *manifest* (a whole object: apiVersion, kind, metadata, …) under *name*.

    Kinds that Kubernetes ships become their typed class, all others a `CustomResource`, so the
    real provider treats each as it would a hand-written one.
    """
    api_version, kind = manifest["apiVersion"], manifest["kind"]
    fields = {_snake(key): value for key, value in manifest.items()}
    if _BUILT_IN.match(api_version):
        del fields["api_version"], fields["kind"]
        group, _, version = api_version.rpartition("/")
        package = f"{group.removesuffix('.k8s.io').split('.')[0] or 'core'}.{version}"
        typed = getattr(importlib.import_module(f"pulumi_kubernetes.{package}"), kind)
        return cast(pulumi.CustomResource, typed(name, **fields, opts=opts))
    custom = importlib.import_module("pulumi_kubernetes.apiextensions").CustomResource
    return cast(pulumi.CustomResource, custom(name, **fields, opts=opts))


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: f"_{match[1].lower()}", key)
