"""The outer shape of Kubernetes objects, and their versioned names."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

Manifest = dict[str, Any]

PART_OF = {"app.kubernetes.io/part-of": "bex"}


def make(
    api_version: str,
    kind: str,
    name: str,
    content: Mapping[str, Any],
    *,
    namespace: str | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Put *content* (spec, data, rules, …) into an object of that kind."""
    metadata: Manifest = {"name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = dict(labels)
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def namespace(name: str, *, privileged: bool = False) -> Manifest:
    """Render a Namespace; pods that need the machine itself need a *privileged* one."""
    labels = dict(PART_OF)
    if privileged:
        labels["pod-security.kubernetes.io/enforce"] = "privileged"
    return make("v1", "Namespace", name, {}, labels=labels)


def versioned(name: str, spec: Mapping[str, Any]) -> str:
    """Name an object that cannot change after its content, so that a change makes another one."""
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    return f"{name}-{digest[:8]}"


def pairs(arguments: Mapping[str, str]) -> list[dict[str, str]]:
    """Write command-line arguments as kubeadm's v1beta2 types want them."""
    return [{"name": name, "value": value} for name, value in arguments.items()]


def role_and_binding(
    name: str, account: tuple[str, str], rules: Sequence[Mapping[str, Any]], *, bound_in: str = ""
) -> list[Manifest]:
    """Grant *rules* to a ServiceAccount (namespace, name): in one namespace, or everywhere."""
    api, kind = "rbac.authorization.k8s.io/v1", "Role" if bound_in else "ClusterRole"
    where = bound_in or None
    subject = {"kind": "ServiceAccount", "namespace": account[0], "name": account[1]}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    return [
        make(api, kind, name, {"rules": [dict(rule) for rule in rules]}, namespace=where),
        make(
            api,
            f"{kind}Binding",
            name,
            {"roleRef": reference, "subjects": [subject]},
            namespace=where,
        ),
    ]
