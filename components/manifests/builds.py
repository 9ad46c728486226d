"""Where images are built: a namespace of its own, rights in it, and what no pod in it may have.

BuildKit needs more than Pod Security's baseline allows, inside a user namespace of its pod. So the
namespace enforces nothing of it; a policy of our own allows exactly that and refuses the rest.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import names, rights
from components.manifests import zot

Manifest = dict[str, Any]

ROLE = "bex-operator-builds"
POLICY = "bex-builds-are-confined"
INNER_NETWORKS = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
"""Where no step of a Dockerfile may go: machines, pods, services, and where clouds keep their
machines' credentials. Source: IANA's registry of special-purpose IPv4 addresses."""
_INNER_IPV6 = ("64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8")
_LAST_PORT = 65535
_ADMISSION = "admissionregistration.k8s.io/v1"
_CONTAINERS = "(object.spec.containers + object.spec.?initContainers.orValue([]))"
_RULES = {
    "a pod of a build has users of its own": "object.spec.?hostUsers.orValue(true) == false",
    "a pod of a build shares nothing with its machine": (
        "!object.spec.?hostNetwork.orValue(false) && !object.spec.?hostPID.orValue(false)"
        " && !object.spec.?hostIPC.orValue(false)"
    ),
    "a pod of a build has no token of the cluster": (
        "object.spec.?automountServiceAccountToken.orValue(true) == false"
    ),
    "a pod of a build sees no folder of its machine but what is kept of its App's builds": (
        "object.spec.?volumes.orValue([]).all(v, has(v.emptyDir) || has(v.secret)"
        f" || has(v.hostPath) && v.hostPath.path in ['{names.KEPT_BUILDS}', '{names.KEPT_BUILDS}/'"
        f" + object.metadata.?labels['{names.APP_UID_LABEL}'].orValue('') + '/state'])"
    ),
    "only the step that makes room sees what is kept of all": (
        f"{_CONTAINERS}.all(c, c.name == '{names.ROOM_STEP}' ||"
        " c.?volumeMounts.orValue([]).all(m, object.spec.?volumes.orValue([]).all(v,"
        f" v.name != m.name || v.?hostPath.path.orValue('') != '{names.KEPT_BUILDS}')))"
    ),
    "no container of a build is privileged": (
        f"{_CONTAINERS}.all(c, !c.?securityContext.?privileged.orValue(false))"
    ),
}


def is_inner(network: str) -> bool:
    """Tell whether no step of a Dockerfile may go anywhere in *network* (IPv4, CIDR)."""
    asked = ipaddress.IPv4Network(network)
    return any(asked.subnet_of(ipaddress.IPv4Network(each)) for each in INNER_NETWORKS)


@dataclass(frozen=True, slots=True)
class InnerNetwork:
    """Addresses that a stack's repositories may be at, though they are not public."""

    network: str
    """IPv4, CIDR."""
    port: int


def read_inner_network(text: str) -> InnerNetwork:
    """Read `CIDR:PORT`.

    Raises:
        ValueError: it is none.
    """
    cidr, _, port = text.rpartition(":")
    try:
        network = ipaddress.IPv4Network(cidr)
    except ValueError as exc:
        raise ValueError(f"{text!r} is not of the form 10.0.7.5/32:22") from exc
    if not port.isdecimal() or not 1 <= int(port) <= _LAST_PORT:
        raise ValueError(f"{text!r} has no port between 1 and {_LAST_PORT}")
    return InnerNetwork(str(network), int(port))


def render(subjects: Sequence[Manifest]) -> list[Manifest]:
    """Render everything in the order in which it is to be applied; *subjects* start builds."""
    group = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [right.group], "resources": [right.resource], "verbs": list(right.verbs)}
        for right in rights.OPERATOR_IN_BUILDS
    ]
    here = {"name": ROLE, "namespace": names.BUILD_NAMESPACE}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": names.BUILD_NAMESPACE,
                "labels": {
                    "app.kubernetes.io/part-of": "bex",
                    "pod-security.kubernetes.io/enforce": "privileged",
                },
            },
        },
        _network_policy(),
        _policy(),
        _policy_binding(),
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": here, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": here,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": ROLE},
            "subjects": list(subjects),
        },
    ]


def _network_policy() -> Manifest:
    """Let builds reach the outside, names and the registry, where the network honours policies.

    A network that does (Calico, Cilium) also keeps addresses of machines and of the API server from
    what a block of addresses allows.
    """
    dns = {"podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}, "namespaceSelector": {}}
    registry = {"matchLabels": {"kubernetes.io/metadata.name": zot.NAMESPACE}}
    outside = [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(INNER_NETWORKS)}},
        {"ipBlock": {"cidr": "::/0", "except": list(_INNER_IPV6)}},
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": POLICY, "namespace": names.BUILD_NAMESPACE},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Egress", "Ingress"],
            "egress": [
                {"to": outside},
                {
                    "to": [dns],
                    "ports": [{"port": 53, "protocol": each} for each in ("TCP", "UDP")],
                },
                {
                    "to": [{"namespaceSelector": registry}],
                    "ports": [{"port": zot.BUILDS_PORT, "protocol": "TCP"}],
                },
            ],
        },
    }


def _policy() -> Manifest:
    pods = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["pods"],
    }
    return {
        "apiVersion": _ADMISSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [pods],
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": names.BUILD_NAMESPACE}
                },
            },
            "validations": [
                {"expression": expression, "message": message}
                for message, expression in _RULES.items()
            ],
        },
    }


def _policy_binding() -> Manifest:
    return {
        "apiVersion": _ADMISSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": POLICY},
        "spec": {"policyName": POLICY, "validationActions": ["Deny"]},
    }
