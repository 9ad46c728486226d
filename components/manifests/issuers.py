"""Who signs the edge's certificates: an authority of our own on `capd`, Let's Encrypt on `caph`."""

from collections.abc import Sequence
from typing import Any

from components.manifests import charts, edge, shapes

VERSION = "cert-manager.io/v1"
AUTHORITY = "bex-local"
_ACME = {
    "staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
    "production": "https://acme-v02.api.letsencrypt.org/directory",
}


def local_authority(names: Sequence[Any]) -> list[shapes.Manifest]:
    """Render an authority that nobody trusts until told to, and the edge's certificate for *names*.

    It is never put into a trust store.
    """
    where = "cert-manager"
    authority = {
        "isCA": True,
        "commonName": "bex local authority",
        "secretName": AUTHORITY,
        "privateKey": {"algorithm": "ECDSA", "size": 256},
        "issuerRef": _issuer("bex-self-signed"),
    }
    return [
        _cluster_issuer("bex-self-signed", {"selfSigned": {}}),
        shapes.make(VERSION, "Certificate", AUTHORITY, {"spec": authority}, namespace=where),
        _cluster_issuer(AUTHORITY, {"ca": {"secretName": AUTHORITY}}),
        edge_certificate(names, AUTHORITY),
    ]


def lets_encrypt(email: str) -> list[shapes.Manifest]:
    """Render both of Let's Encrypt's issuers; HTTP-01 over the edge's port 80."""
    return [
        _cluster_issuer(lets_encrypt_name(name), _acme(name, url, email))
        for name, url in _ACME.items()
    ]


def lets_encrypt_name(environment: str) -> str:
    """Name the issuer of Let's Encrypt's `staging` or `production`."""
    return f"letsencrypt-{environment}"


def edge_certificate(names: Sequence[Any], issuer: str) -> shapes.Manifest:
    """Render the certificate the edge shows for *names*; one may be a Pulumi output."""
    spec = {
        "secretName": charts.DEFAULT_CERTIFICATE,
        "dnsNames": list(names),
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "issuerRef": _issuer(issuer),
    }
    return shapes.make(
        VERSION,
        "Certificate",
        charts.DEFAULT_CERTIFICATE,
        {"spec": spec},
        namespace=charts.EDGE_NAMESPACE,
    )


def _acme(name: str, url: str, email: str) -> dict[str, Any]:
    solver = {"http01": {"ingress": {"ingressClassName": edge.CLASS}}}
    acme: dict[str, Any] = {
        "server": url,
        "privateKeySecretRef": {"name": f"{lets_encrypt_name(name)}-account"},
        "solvers": [solver],
    }
    if email:
        acme["email"] = email
    return {"acme": acme}


def _cluster_issuer(name: str, spec: dict[str, Any]) -> shapes.Manifest:
    return shapes.make(VERSION, "ClusterIssuer", name, {"spec": spec})


def _issuer(name: str) -> dict[str, str]:
    return {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": name}
