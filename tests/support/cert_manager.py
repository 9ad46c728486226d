"""Cert-manager's part, played: its one kind that matters here, and what it makes for an Ingress."""

from typing import Any

from bex_operator.kube import client, errors, kinds
from tests.support.waiting import until

DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "certificates.cert-manager.io"},
    "spec": {
        "group": "cert-manager.io",
        "names": {"kind": "Certificate", "plural": "certificates"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


async def serve(kube: client.Client) -> None:
    """Let the API server know Certificates."""
    await kube.apply(DEFINITION, field_manager="test")

    async def served() -> bool:
        try:
            await kube.list(kinds.CERTIFICATE)
        except errors.NotFound:
            return False
        return True

    await until(served, "Certificates are served")


async def begin(kube: client.Client, namespace: str, name: str) -> list[dict[str, Any]]:
    """Make the Certificates that an Ingress asks for."""
    route = await kube.get(kinds.INGRESS, name, namespace)
    owner = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": name}
    owner |= {"uid": route["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}
    made = []
    for each in route["spec"]["tls"]:
        metadata = {"name": each["secretName"], "namespace": namespace}
        metadata |= {"labels": route["metadata"]["labels"], "ownerReferences": [owner]}
        spec = {"dnsNames": each["hosts"], "secretName": each["secretName"]}
        body = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata}
        made.append(await kube.create(body | {"spec": spec}, field_manager="cert-manager"))
    return made
