"""The cluster's name server: CoreDNS on the host, behind the Service every pod asks. Pure.

It runs beside the control plane, not in a pod, so names resolve before any machine is Ready and no
image is needed. Machines ask it by the bridge's address, pods by the Service's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bex_stack.embedded import instance as instances
from bex_stack.embedded import processes

NAME = "coredns"
USER = "bex-dns"
_READY_PORT = 8181
_SERVICE = "kube-dns"
_NAMESPACE = "kube-system"


def corefile(instance: instances.Instance) -> Path:
    """Where the rendered Corefile lies."""
    return instance.etc_dir / "Corefile"


def render_corefile(instance: instances.Instance, *, upstream: Path) -> str:
    """Corefile: the cluster's names from the API server, all others from the host's servers."""
    address = instance.bind_address
    return f"""\
.:{instances.DNS_PORT} {{
    bind {address}
    errors
    ready {address}:{_READY_PORT}
    kubernetes {instances.CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {instance.kubeconfig_of(USER)} bex
        pods verified
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    forward . {upstream} {{
        max_concurrent 1000
    }}
    cache 30 {{
        disable success {instances.CLUSTER_DOMAIN}
        disable denial {instances.CLUSTER_DOMAIN}
    }}
    loadbalance
}}
"""


def process(instance: instances.Instance, program: Path) -> processes.Process:
    """CoreDNS on the instance's address; run it with the kubeconfig of USER."""
    command = (str(program), "-conf", str(corefile(instance)))
    return processes.Process(NAME, command, inputs=(corefile(instance),), priority=50)


def ready_url(instance: instances.Instance) -> str:
    """What answers 200 when the cluster's names are known."""
    return f"http://{instance.bind_address}:{_READY_PORT}/ready"


def objects(instance: instances.Instance) -> list[dict[str, Any]]:
    """What CoreDNS may read, and the Service by which pods reach it."""
    return [_role(), _role_binding(), _service(), _endpoint_slice(instance)]


def _role() -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "bex:dns"},
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["services", "pods", "namespaces"],
                "verbs": ["list", "watch"],
            },
            {
                "apiGroups": ["discovery.k8s.io"],
                "resources": ["endpointslices"],
                "verbs": ["list", "watch"],
            },
        ],
    }


def _role_binding() -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "bex:dns"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "bex:dns"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": USER}],
    }


def _service() -> dict[str, Any]:
    ports = [
        {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
        {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": _SERVICE,
            "namespace": _NAMESPACE,
            "labels": {"kubernetes.io/name": "CoreDNS"},
        },
        "spec": {"clusterIP": instances.DNS_SERVICE_ADDRESS, "ports": ports},
    }


def _endpoint_slice(instance: instances.Instance) -> dict[str, Any]:
    labels = {
        "kubernetes.io/service-name": _SERVICE,
        "endpointslice.kubernetes.io/managed-by": "bex-embedded",
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{_SERVICE}-host", "namespace": _NAMESPACE, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [instance.bridge_address], "conditions": {"ready": True}}],
        "ports": [
            {"name": "dns", "protocol": "UDP", "port": 53},
            {"name": "dns-tcp", "protocol": "TCP", "port": 53},
        ],
    }
