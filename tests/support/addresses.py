"""What an API server leaves that dies between a Service's address and the Service itself."""

from typing import Any

from bex_operator.kube import client, kinds

ADDRESS = "10.96.0.10"
_LABELS = {
    "ipaddress.kubernetes.io/ip-family": "IPv4",
    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
}


async def keep_for_nobody(
    kube: client.Client, name: str = "kube-dns", namespace: str = "kube-system", **parent: str
) -> dict[str, Any]:
    """Note the address for a Service that is not there, as the server does, or for a *parent*."""
    of = {"group": "", "resource": "services", "namespace": namespace, "name": name, **parent}
    noted = {
        "apiVersion": kinds.IP_ADDRESS.api_version,
        "kind": kinds.IP_ADDRESS.kind,
        "metadata": {"name": ADDRESS, "labels": {} if parent else _LABELS},
        "spec": {"parentRef": of},
    }
    return await kube.create(noted, field_manager="test")
