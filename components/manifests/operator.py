"""What the operator needs in the app cluster: namespaces, the App kind, and nobody's rights but
those its own table of kinds names."""

from collections.abc import Sequence
from typing import Any

from bex_operator import api
from bex_operator.api import names, rights
from components.manifests import builds

Manifest = dict[str, Any]

OPERATOR = "bex-operator"
EDGE = "bex-edge"
CERTIFYING = "bex-operator-certificates"
SERVICE_ACCOUNT = "bex-controller-manager"
"""Who the operator's pods are."""


def render(
    *, users: Sequence[str] = (), edge_user: str | None = None, certifies: bool = False
) -> list[Manifest]:
    """Render everything in the order in which it is to be applied.

    *users* are who else has the operator's rights, for one that runs from source; *edge_user* is
    the edge's feeder where it runs beside the cluster. An operator that *certifies* hosts reads
    what cert-manager says of them.
    """
    operators = [_service_account(), *(_user(name) for name in users)]
    edge = [] if edge_user is None else _edge(edge_user)
    certifying = _certifying(operators) if certifies else []
    return [
        _namespace(api.SYSTEM_NAMESPACE, _security("restricted")),
        _namespace(api.NAMESPACE, _security("baseline")),
        api.crd(),
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": SERVICE_ACCOUNT, "namespace": api.SYSTEM_NAMESPACE},
            "automountServiceAccountToken": False,
        },
        _cluster_role(OPERATOR, rights.OPERATOR),
        _cluster_role_binding(OPERATOR, operators),
        _role(OPERATOR, rights.OPERATOR_IN_SYSTEM),
        _role_binding(OPERATOR, operators),
        _cluster_role(names.SECRETS_ROLE, rights.OPERATOR_IN_APPS),
        _secrets_binding(operators),
        flow_schema(operators),
        *builds.render(operators),
        *certifying,
        *edge,
    ]


def flow_schema(subjects: Sequence[Manifest]) -> Manifest:
    """Let the API server serve *subjects* beside its own controllers.

    By default they would share what it keeps for all service accounts, those of tenants' pods too.
    """
    everything = {
        "verbs": ["*"],
        "apiGroups": ["*"],
        "resources": ["*"],
        "namespaces": ["*"],
        "clusterScope": True,
    }
    rule = {"subjects": [_flow_subject(each) for each in subjects], "resourceRules": [everything]}
    return {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": OPERATOR},
        "spec": {
            # As those of the controller-manager and the scheduler have.
            "priorityLevelConfiguration": {"name": "workload-high"},
            "matchingPrecedence": 1000,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [rule],
        },
    }


def _flow_subject(subject: Manifest) -> Manifest:
    """Name a subject of a role binding as a FlowSchema does."""
    if subject["kind"] == "User":
        return {"kind": "User", "user": {"name": subject["name"]}}
    account = {key: subject[key] for key in ("name", "namespace")}
    return {"kind": "ServiceAccount", "serviceAccount": account}


def _certifying(operators: Sequence[Manifest]) -> list[Manifest]:
    role = _cluster_role(CERTIFYING, rights.OPERATOR_CERTIFYING)
    return [role, _cluster_role_binding(CERTIFYING, operators)]


def _edge(user: str) -> list[Manifest]:
    return [_cluster_role(EDGE, rights.EDGE), _cluster_role_binding(EDGE, [_user(user)])]


def _security(enforced: str) -> dict[str, str]:
    """Pod Security: what *enforced* forbids is refused, what is not restricted is said."""
    key = "pod-security.kubernetes.io"
    return {f"{key}/enforce": enforced, f"{key}/audit": "restricted", f"{key}/warn": "restricted"}


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


def _cluster_role_binding(role: str, subjects: Sequence[Manifest]) -> Manifest:
    return _rbac("ClusterRoleBinding", {"name": role}, _binding("ClusterRole", role, subjects))


def _role(name: str, granted: Sequence[rights.Right]) -> Manifest:
    metadata = {"name": name, "namespace": api.SYSTEM_NAMESPACE}
    return _rbac("Role", metadata, {"rules": _rules(granted)})


def _role_binding(role: str, subjects: Sequence[Manifest]) -> Manifest:
    metadata = {"name": role, "namespace": api.SYSTEM_NAMESPACE}
    return _rbac("RoleBinding", metadata, _binding("Role", role, subjects))


def _secrets_binding(subjects: Sequence[Manifest]) -> Manifest:
    """Bind the role where the stack's Apps live, and nowhere else."""
    metadata = {"name": names.SECRETS_ROLE, "namespace": api.NAMESPACE}
    return _rbac("RoleBinding", metadata, _binding("ClusterRole", names.SECRETS_ROLE, subjects))


def _binding(kind: str, role: str, subjects: Sequence[Manifest]) -> Manifest:
    group = "rbac.authorization.k8s.io"
    return {
        "roleRef": {"apiGroup": group, "kind": kind, "name": role},
        "subjects": list(subjects),
    }


def _service_account() -> Manifest:
    return {
        "kind": "ServiceAccount",
        "name": SERVICE_ACCOUNT,
        "namespace": api.SYSTEM_NAMESPACE,
    }


def _user(name: str) -> Manifest:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}
