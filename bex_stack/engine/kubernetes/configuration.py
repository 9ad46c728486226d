"""A Kubernetes provider's settings: what they may be, and which changes mean another cluster."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bex_stack.engine import errors, values

_KNOWN = {
    "kubeconfig",
    "context",
    "cluster",
    "namespace",
    "version",
    "clusterIdentifier",
    "deleteUnreachable",
    "skipUpdateUnreachable",
    "enableServerSideApply",
    "enableConfigMapMutable",
    "enableSecretMutable",
    "enablePatchForce",
    "upsertExistingObjects",
    "suppressDeprecationWarnings",
    "suppressHelmHookWarnings",
    "strictMode",
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What one provider instance works with."""

    kubeconfig: str = ""
    """A path or the document itself; empty means $KUBECONFIG or ~/.kube/config."""
    context: str = ""
    namespace: str = ""
    known: bool = True
    """False in a preview while the kubeconfig is an output that does not exist yet."""
    mutable_config_maps: bool = False
    mutable_secrets: bool = False
    patch_force: bool = False
    upsert: bool = False
    delete_unreachable: bool = False

    def path(self) -> Path | None:
        """Return the kubeconfig's path, or None when the document itself is given."""
        if self.kubeconfig and _is_document(self.kubeconfig):
            return None
        return _file(self.kubeconfig)


def from_inputs(inputs: Mapping[str, Any]) -> Configuration:
    """Read a provider resource's inputs (secrets revealed; booleans may be text).

    Raises: Unsupported for settings the embedded engine has no answer to.
    """
    for key in inputs:
        if key not in _KNOWN:
            raise errors.Unsupported(f"kubernetes provider setting `{key}` needs the pulumi CLI")
    if not _flag(inputs, "enableServerSideApply", default=True):
        raise errors.Unsupported("kubernetes provider setting `enableServerSideApply: false`")
    text = inputs.get("kubeconfig") or ""
    if not isinstance(text, str):
        text = json.dumps(text)
    return Configuration(
        kubeconfig=text,
        context=str(inputs.get("context") or ""),
        namespace=str(inputs.get("namespace") or ""),
        known=not values.has_unknowns(dict(inputs)),
        mutable_config_maps=_flag(inputs, "enableConfigMapMutable"),
        mutable_secrets=_flag(inputs, "enableSecretMutable"),
        patch_force=_flag(inputs, "enablePatchForce"),
        upsert=_flag(inputs, "upsertExistingObjects"),
        delete_unreachable=_flag(inputs, "deleteUnreachable")
        or os.environ.get("PULUMI_K8S_DELETE_UNREACHABLE") == "true",
    )


def replaced_by(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the settings whose change means another cluster, so that objects are made anew there.

    Source: pulumi-kubernetes provider.go, DiffConfig: only the active cluster counts.
    """
    if old.get("clusterIdentifier") and new.get("clusterIdentifier"):
        changed = old["clusterIdentifier"] != new["clusterIdentifier"]
        return ("clusterIdentifier",) if changed else ()
    keys = [key for key in ("kubeconfig", "context", "cluster") if old.get(key) != new.get(key)]
    unknown = [key for key in keys if values.is_unknown(new.get(key))]
    if unknown:
        return tuple(unknown[:1])
    before, after = _active_cluster(old), _active_cluster(new)
    return tuple(keys) if before and after and before != after else ()


def _active_cluster(inputs: Mapping[str, Any]) -> Any:
    """Return the cluster entry in use, or None when the file cannot be read here."""
    text = inputs.get("kubeconfig") or ""
    try:
        document = yaml.safe_load(text if _is_document(text) else _file(text).read_text())
        current = inputs.get("context") or document.get("current-context")
        contexts = {each["name"]: each.get("context") or {} for each in document["contexts"]}
        name = inputs.get("cluster") or contexts[current]["cluster"]
        return {each["name"]: each.get("cluster") for each in document["clusters"]}[name]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None


def _is_document(text: str) -> bool:
    return "\n" in text or text.lstrip().startswith("{")


def _file(text: str) -> Path:
    named = text or os.environ.get("KUBECONFIG", "").split(":")[0] or "~/.kube/config"
    return Path(named).expanduser()


def _flag(inputs: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    value = inputs.get(key)
    return default if value in (None, "") else value in (True, "true")
