"""What is read off nodes and pods of the app cluster. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

Manifest = Mapping[str, Any]

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
SERVING = "kubernetes.io/kubelet-serving"


def name(manifest: Manifest) -> str:
    """Return an object's name."""
    return str(manifest["metadata"]["name"])


def is_ready(manifest: Manifest) -> bool:
    """Say whether a node or a pod says of itself that it is ready, and is to stay."""
    conditions = manifest.get("status", {}).get("conditions", [])
    is_leaving = "deletionTimestamp" in manifest["metadata"]
    return not is_leaving and any(
        each["type"] == "Ready" and each["status"] == "True" for each in conditions
    )


def is_control_plane(node: Manifest) -> bool:
    """Say whether a node is a control plane's."""
    return CONTROL_PLANE in node["metadata"]["labels"]


def address(node: Manifest) -> str:
    """Return where a node answers its neighbours."""
    addresses = node["status"]["addresses"]
    return next(str(each["address"]) for each in addresses if each["type"] == "InternalIP")


def ready_workers(nodes: Iterable[Manifest]) -> set[str]:
    """Name the machines for apps that are ready."""
    return {name(node) for node in nodes if is_ready(node) and not is_control_plane(node)}


def places(pods: Iterable[Manifest]) -> list[str]:
    """Name the machines of pods that are ready, one for each pod."""
    return sorted(pod["spec"]["nodeName"] for pod in pods if is_ready(pod))


def waits_for_approval(request: Manifest) -> bool:
    """Say whether a certificate request is a kubelet's for serving and nobody has answered it."""
    return request["spec"]["signerName"] == SERVING and not request["status"].get("conditions")
