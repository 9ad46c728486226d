"""The OCI registry as a process: on loopback for the host, on the bridge for machines. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bex_operator.api import names
from bex_stack.embedded import instance as instances
from bex_stack.embedded import processes

NAME = "registry"
GUARDED_PORT = 5000
"""Where pods find it on the bridge, if they have a token."""
SECRET, TOKEN_KEY = "bex-registry", "token-key"
KNOWN_AS = "localhost:5050"
"""What the registry is called in image names, whatever its port on the host."""


def endpoint(instance: instances.Instance) -> str:
    """HOST:PORT for the host."""
    return f"127.0.0.1:{instance.registry_port}"


def machine_endpoint(instance: instances.Instance) -> str:
    """HOST:PORT for machines."""
    return f"{instance.bind_address}:{instance.registry_port}"


def guarded_endpoint(instance: instances.Instance) -> str:
    """HOST:PORT for holders of tokens: the pods of builds."""
    return f"{instance.bind_address}:{GUARDED_PORT}"


def token_key(instance: instances.Instance) -> Path:
    """The key that tokens for the registry are signed with."""
    return instance.pki_dir / "registry-tokens.key"


def secret(key: Any) -> dict[str, Any]:
    """Render what lets the operator's pods in (v1 Secret); *key* may be an Output."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": SECRET,
            "namespace": names.SYSTEM_NAMESPACE,
            "labels": {names.PROTECTED_LABEL: "true"},
        },
        "stringData": {TOKEN_KEY: key},
    }


def health_url(instance: instances.Instance) -> str:
    """What answers 200 while the registry can read its data."""
    return f"http://{endpoint(instance)}/healthz"


def process(instance: instances.Instance, program: Path) -> processes.Process:
    """The registry; its data lies in the instance's folder."""
    command = (
        str(program),
        f"-root={instance.dir / 'registry'}",
        f"-listen={endpoint(instance)}",
        f"-listen={machine_endpoint(instance)}",
        f"-listen-guarded={guarded_endpoint(instance)}",
        f"-token-key={token_key(instance)}",
    )
    return processes.Process(NAME, command, priority=40)
