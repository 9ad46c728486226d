"""How machines find images: containerd's own registry configuration, never names in manifests.

Source: containerd `docs/hosts.md`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from components.manifests import shapes

CERTS = "/etc/containerd/certs.d"
PUBLIC: Mapping[str, str] = {
    "docker.io": "https://registry-1.docker.io",
    "ghcr.io": "https://ghcr.io",
    "quay.io": "https://quay.io",
    "registry.k8s.io": "https://registry.k8s.io",
}
"""Registries that images of this project and of its apps come from, and where they really are."""
_KEY = "hosts.toml"
KNOWN_AS = "localhost:5050"
"""What our registry is called in image names, whatever its port on this host."""


def host_files(ours: str, mirror: str | None, secret: str = "") -> list[dict[str, Any]]:
    """Render files for kubeadm's `files`: where each registry is looked up.

    *ours* is our registry's URL as a machine reaches it; where machines need a password for it,
    the file comes from the Secret of that name, of `login`. With a *mirror* (HOST:PORT) nothing but
    the mirror is asked for public images, so that a machine without the internet fails at once.
    """
    files: list[dict[str, Any]] = list(_files(ours, mirror))
    if secret:
        del files[0]["content"]
        files[0]["contentFrom"] = {"secret": {"name": secret, "key": _KEY}}
    return files


def login(name: str, namespace: str, ours: str, write: Callable[[str], Any]) -> shapes.Manifest:
    """Render the Secret with the file for our registry (v1 Secret).

    *write* gets the text with `{basic}` where HTTP's user and password belong, and returns whatever
    stands for the whole, such as an Output.
    """
    content = _file(KNOWN_AS, ours, [ours])["content"]
    # Source: containerd `docs/hosts.md`, header fields.
    content += f'  [host."{ours}".header]\n    authorization = "Basic {{basic}}"\n'
    return shapes.make(
        "v1",
        "Secret",
        name,
        {"type": "Opaque", "stringData": {_KEY: write(content)}},
        namespace=namespace,
        # clusterctl takes what carries this label along when it moves a cluster.
        labels={"clusterctl.cluster.x-k8s.io/move": ""},
    )


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
