"""What the operator needs in the app cluster: namespaces, the App kind, and nobody's rights but
those its own table of kinds names."""

from collections.abc import Sequence
from typing import Any

from bex_operator import api
from bex_operator.api import names, rights

Manifest = dict[str, Any]

OPERATOR = "bex-operator"
EDGE = "bex-edge"


def render(*, operator_user: str, edge_user: str) -> list[Manifest]:
    """Render everything in the order in which it is to be applied."""
    return [
        _namespace(api.SYSTEM_NAMESPACE, {}),
        _namespace(api.NAMESPACE, _app_security()),
        api.crd(),
        _cluster_role(OPERATOR, rights.OPERATOR),
        _cluster_role_binding(OPERATOR, operator_user),
        _role(OPERATOR, rights.OPERATOR_IN_SYSTEM),
        _role_binding(OPERATOR, operator_user),
        _cluster_role(names.SECRETS_ROLE, rights.OPERATOR_IN_APPS),
        _secrets_binding(operator_user),
        _cluster_role(EDGE, rights.EDGE),
        _cluster_role_binding(EDGE, edge_user),
    ]


def _app_security() -> dict[str, str]:
    """Pod Security: what is dangerous is refused, what is not restricted is said."""
    key = "pod-security.kubernetes.io"
    return {f"{key}/enforce": "baseline", f"{key}/audit": "restricted", f"{key}/warn": "restricted"}


def _namespace(name: str, labels: dict[str, str]) -> Manifest:
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "bex", **labels}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _rules(granted: Sequence[rights.Right]) -> list[Manifest]:
    return [
        {"apiGroups": [right.group], "resources": [right.resource], "verbs": list(right.verbs)}
        for right in granted
    ]


def _rbac(kind: str, metadata: Manifest, content: Manifest) -> Manifest:
    version = "rbac.authorization.k8s.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def _cluster_role(name: str, granted: Sequence[rights.Right]) -> Manifest:
    return _rbac("ClusterRole", {"name": name}, {"rules": _rules(granted)})


def _cluster_role_binding(role: str, user: str) -> Manifest:
    return _rbac("ClusterRoleBinding", {"name": role}, _binding("ClusterRole", role, user))


def _role(name: str, granted: Sequence[rights.Right]) -> Manifest:
    metadata = {"name": name, "namespace": api.SYSTEM_NAMESPACE}
    return _rbac("Role", metadata, {"rules": _rules(granted)})


def _role_binding(role: str, user: str) -> Manifest:
    metadata = {"name": role, "namespace": api.SYSTEM_NAMESPACE}
    return _rbac("RoleBinding", metadata, _binding("Role", role, user))


def _secrets_binding(user: str) -> Manifest:
    """Bind the role where the stack's Apps live, and nowhere else."""
    metadata = {"name": names.SECRETS_ROLE, "namespace": api.NAMESPACE}
    return _rbac("RoleBinding", metadata, _binding("ClusterRole", names.SECRETS_ROLE, user))


def _binding(kind: str, role: str, user: str) -> Manifest:
    group = "rbac.authorization.k8s.io"
    return {
        "roleRef": {"apiGroup": group, "kind": kind, "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }
