"""How machines find images: containerd's own registry configuration, never names in manifests.

Source: containerd `docs/hosts.md`.
"""

from collections.abc import Iterator, Mapping, Sequence

CERTS = "/etc/containerd/certs.d"
PUBLIC: Mapping[str, str] = {
    "docker.io": "https://registry-1.docker.io",
    "ghcr.io": "https://ghcr.io",
    "quay.io": "https://quay.io",
    "registry.k8s.io": "https://registry.k8s.io",
}
"""Registries that images of this project and of its apps come from, and where they really are."""
KNOWN_AS = "localhost:5050"
"""What our registry is called in image names, whatever its port on this host."""


def host_files(ours: str, mirror: str | None) -> list[dict[str, str]]:
    """Render files for kubeadm's `files`: where each registry is looked up.

    *ours* is our registry's URL as a machine reaches it. With a *mirror* (HOST:PORT) nothing but
    the mirror is asked for public images, so that a machine without the internet fails at once.
    """
    return list(_files(ours, mirror))


def _files(ours: str, mirror: str | None) -> Iterator[dict[str, str]]:
    yield _file(KNOWN_AS, ours, [ours])
    if mirror is None:
        return
    for registry in PUBLIC:
        url = f"http://{mirror}"
        yield _file(registry, url, [url])


def _file(registry: str, server: str, hosts: Sequence[str]) -> dict[str, str]:
    lines = [f'server = "{server}"']
    for host in hosts:
        lines += ["", f'[host."{host}"]', '  capabilities = ["pull", "resolve"]']
    return {
        "path": f"{CERTS}/{registry}/hosts.toml",
        "owner": "root:root",
        "permissions": "0644",
        "content": "\n".join(lines) + "\n",
    }
