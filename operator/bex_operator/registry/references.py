"""Reads image references as container runtimes do."""

import ipaddress
from dataclasses import dataclass

from bex_operator import addresses

DOCKER_HUB = "docker.io"
_REAL_HOSTS = {DOCKER_HUB: "registry-1.docker.io"}


@dataclass(frozen=True, slots=True)
class Reference:
    """An image's name in parts."""

    host: str
    """Registry, with its port if one is written."""
    repository: str
    tag: str
    digest: str | None


def parse(image: str) -> Reference:
    """Split *image*, which the App model has accepted; what is left out is Docker Hub's latest."""
    name, _, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, path = first, rest
    else:
        host, path = DOCKER_HUB, name
    folder, separator, last = path.rpartition("/")
    last, _, tag = last.partition(":")
    repository = f"{folder}{separator}{last}"
    if host == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return Reference(host, repository, tag or "latest", digest or None)


def endpoint_of(host: str) -> str | None:
    """Return where *host* is asked; None for what only this machine or its network would answer.

    Whoever writes an App chooses the host, and must not make the operator knock on inner doors.
    """
    name = host.rpartition(":")[0] if ":" in host else host
    if not is_public(name):
        return None
    return f"https://{_REAL_HOSTS.get(host, host)}"


def is_public(name: str) -> bool:
    """Tell whether a host name or address may be one of the public internet."""
    try:
        return addresses.is_public(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        labels = name.lower().rstrip(".").split(".")
        inner = labels[-1] in {"localhost", "local", "internal", "svc"} or labels[-1].isdecimal()
        return len(labels) > 1 and not inner
