"""How repositories are built in a cluster of Cluster API: what the operator's pods read, and what
pods of builds may reach besides what they may everywhere."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bex_operator.api import names
from components.manifests import builds, registries, shapes

FOLDER = "/etc/bex/builds"
SETTINGS, TOKEN_KEY = "builds.json", "token-key"
FILE = f"{FOLDER}/{SETTINGS}"


@dataclass(frozen=True, slots=True)
class Builds:
    """What a stack that builds is told."""

    image: str
    """The steps', by digest."""
    scanner: str
    registry: str
    """HOST:PORT where pods with a token are let in."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    taint: str = ""
    inner: Sequence[builds.InnerNetwork] = ()
    """Inner networks that repositories may be in."""

    @property
    def settings(self) -> dict[str, Any]:
        """Spell it for the operator."""
        return {
            "image": self.image,
            "scanner": self.scanner,
            "registry": self.registry,
            "knownAs": registries.KNOWN_AS,
            "tokenKey": f"{FOLDER}/{TOKEN_KEY}",
            "isTried": True,
            "nodeSelector": dict(self.node_selector),
            "taint": self.taint,
            "inner": [each.network for each in self.inner],
        }

    @property
    def secret_name(self) -> str:
        """Name the Secret by what it says: an operator is started anew with another one."""
        told = json.dumps(self.settings, sort_keys=True)
        return f"bex-builds-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def secret(told: Builds, key: object) -> shapes.Manifest:
    """Render what the operator's pods read (v1 Secret); *key* may be an Output."""
    return shapes.make(
        "v1",
        "Secret",
        told.secret_name,
        {"stringData": {SETTINGS: json.dumps(told.settings), TOKEN_KEY: key}},
        namespace=names.SYSTEM_NAMESPACE,
        labels={names.PROTECTED_LABEL: "true"},
    )


def network_policy(peers: Sequence[tuple[object, int]]) -> shapes.Manifest:
    """Let builds reach further addresses (CIDR, which may be an Output) at a TCP port each."""
    egress = [
        {"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"port": port, "protocol": "TCP"}]}
        for cidr, port in peers
    ]
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": egress}
    return shapes.make(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "bex-builds-reach",
        {"spec": spec},
        namespace=names.BUILD_NAMESPACE,
    )
