"""Certificates of an App's hosts: what cert-manager is asked for, and what it says of each. Pure.

An annotation of the Ingress names the issuer. cert-manager makes a Certificate for every Secret
that the Ingress names: of the Secret's name, with the Ingress' labels, and owned by the Ingress.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import hosts as hosts_api
from bex_operator.api import names

ISSUER_ANNOTATION = "cert-manager.io/cluster-issuer"
NAME_LIMIT = 253
SAID_LIMIT = 300
"""How much is told of what cert-manager says."""


@dataclass(frozen=True, slots=True)
class Lack:
    """A host that has no certificate."""

    message: str
    failed: bool
    """It could not be made; if not, it is on its way."""


def tls(app: str, hosts: Sequence[str]) -> list[dict[str, Any]]:
    """Render `spec.tls` of an Ingress: one certificate for each host, so that none waits for
    another's."""
    return [{"hosts": [host], "secretName": name} for host, name in _secrets(app, hosts).items()]


def lacking(
    app: str, hosts: Sequence[str], certificates: Iterable[Mapping[str, Any]]
) -> tuple[Lack, ...]:
    """Return what is wrong with the certificates (cert-manager.io/v1) of *hosts*, in their order.

    A certificate that is renewed early counts as there while the old one is good.
    """
    found = {each["metadata"]["name"]: each for each in certificates}
    judged = (_judge(host, found.get(name)) for host, name in _secrets(app, hosts).items())
    return tuple(each for each in judged if each is not None)


def belongs(certificate: Mapping[str, Any], app: str, uid: str) -> bool:
    """Tell whether a Certificate was made for the Ingress of the App with *uid*."""
    metadata = certificate["metadata"]
    if (metadata.get("labels") or {}).get(names.APP_UID_LABEL) != uid:
        return False
    references = metadata.get("ownerReferences") or []
    owners = [(each["kind"], each["name"]) for each in references if each.get("controller")]
    return owners == [("Ingress", app)]


def _secrets(app: str, hosts: Sequence[str]) -> dict[str, str]:
    """Name the Secret of each host; the main one's stays when another becomes the main one."""
    return {host: _secret(app, host if number else "") for number, host in enumerate(hosts)}


def _secret(app: str, host: str) -> str:
    plain = host.replace(hosts_api.WILDCARD, "wildcard.", 1)
    name = f"{app}-tls-{plain}" if host else f"{app}-tls"
    if len(name) <= NAME_LIMIT:
        return name
    return f"{app}-tls-{hashlib.sha256(host.encode()).hexdigest()[:16]}"


def _judge(host: str, certificate: Mapping[str, Any] | None) -> Lack | None:
    if certificate is None:
        return Lack(
            f"the certificate of host {host!r} is not begun: cert-manager has to see the route",
            failed=False,
        )
    status = certificate.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    # One that was made for the name before says Ready until cert-manager has seen the new one.
    meant = host in (certificate.get("spec") or {}).get("dnsNames", ())
    if meant and _is_ready(certificate["metadata"], conditions.get("Ready", {})):
        return None
    if not meant or "lastFailureTime" not in status:
        return Lack(f"the certificate of host {host!r} is being made", failed=False)
    told = conditions.get("Issuing") or conditions.get("Ready") or {}
    said = str(told.get("message", "")).strip()[:SAID_LIMIT] or "cert-manager does not say why"
    return Lack(
        f"the certificate of host {host!r} could not be made; it is tried again by itself,"
        f" once the host leads here and the issuer is well: {said}",
        failed=True,
    )


def _is_ready(metadata: Mapping[str, Any], ready: Mapping[str, Any]) -> bool:
    """Tell whether the condition says so of what is wanted now, not of what was wanted before."""
    wanted = metadata.get("generation", 0)
    return ready.get("status") == "True" and ready.get("observedGeneration", wanted) >= wanted
