"""What no stack may have: rules over one resource's inputs. Pure; the pack only calls them.

Each yields a message per violation, naming the place in the resource, the value and the rule.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ADMIN_PORTS = (22, 6443)
"""SSH and the Kubernetes API."""
EVERYWHERE = frozenset({"0.0.0.0/0", "::/0"})
PRIVILEGED_NAMESPACES = frozenset({"local-path-storage", "bex-builds"})
"""Namespaces without Pod Security's levels. Helper pods of storage mount a machine's folder; builds
are held to user namespaces by an admission policy of their own, which those levels cannot say."""
UNTHROTTLED = frozenset({"bex-controller-manager"})
"""Pods without a limit of CPU, on purpose: it would only slow the operator's backlog down."""
HOST_NETWORK_RELEASES = frozenset({"traefik"})
"""Charts that may use a machine's own ports: the edge of a stack without a load balancer."""
PROTECTED_TYPES = ("hcloud:index/loadBalancer:LoadBalancer", "hcloud:index/volume:Volume")
SAFE_CAPABILITIES = frozenset({"NET_BIND_SERVICE"})

_POD_TEMPLATES = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"})
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_TAG = re.compile(r":[^/]+$")


@dataclass(frozen=True, slots=True)
class Resource:
    """One registration, as far as rules ask."""

    type: str
    name: str
    props: Mapping[str, Any]
    protect: bool = False
    is_production: bool = False

    @property
    def kind(self) -> str:
        """The Kubernetes kind; empty for anything else."""
        return self.type.rpartition(":")[2] if self.type.startswith("kubernetes:") else ""


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod, and where it stands."""

    place: str
    spec: Mapping[str, Any]

    @property
    def image(self) -> str:
        """Its image."""
        return str(self.spec.get("image") or "")


Rule = Callable[[Resource], Iterator[str]]


def no_open_admin_ports(resource: Resource) -> Iterator[str]:
    """SSH and the Kubernetes API are reached from listed networks only."""
    if resource.type == "hcloud:index/firewall:Firewall":
        for rule in resource.props.get("rules") or ():
            yield from _open_rule(rule)
    if resource.type == "hcloud:index/loadBalancerService:LoadBalancerService":
        port = resource.props.get("listenPort")
        if port in ADMIN_PORTS:
            yield f"listenPort {port} is open to everybody"
    if resource.type == "docker:index/container:Container":
        for port in resource.props.get("ports") or ():
            is_admin = {port.get("external"), port.get("internal")} & set(ADMIN_PORTS)
            if is_admin and port.get("ip") != "127.0.0.1":
                yield f"port {port.get('external')} is published on all addresses"


def _open_rule(rule: Mapping[str, Any]) -> Iterator[str]:
    sources = EVERYWHERE & set(rule.get("sourceIps") or ())
    if rule.get("direction") != "in" or rule.get("protocol") not in ("tcp", "udp") or not sources:
        return
    low, high = _range(str(rule.get("port") or "any"))
    for port in ADMIN_PORTS:
        if low <= port <= high:
            yield f"port {port} is open to {', '.join(sorted(sources))}"


def _range(text: str) -> tuple[int, int]:
    if text == "any":
        return 1, 65535
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def protected_at_hetzner(resource: Resource) -> Iterator[str]:
    """Load balancers and volumes are protected twice: by Pulumi and by Hetzner."""
    if resource.type not in PROTECTED_TYPES:
        return
    if not resource.protect:
        yield "protect is not set: an address in people's DNS, or their data, would go"
    if resource.props.get("deleteProtection") is not True:
        yield "deleteProtection must be true"


def no_privileged_pods(resource: Resource) -> Iterator[str]:
    """Privileged pods, host namespaces and host folders are for a named list only."""
    if resource.kind == "Namespace":
        yield from _privileged_namespace(resource)
    if resource.type == "kubernetes:helm.sh/v3:Release":
        yield from _privileged_values(resource)
    namespace = (resource.props.get("metadata") or {}).get("namespace")
    pod = _pod_of(resource)
    if pod is None or namespace in PRIVILEGED_NAMESPACES:
        return
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield f"pod has {key}"
    for volume in pod.get("volumes") or ():
        if "hostPath" in volume:
            yield f"volume {volume.get('name')} is a folder of the machine"
    for container in _containers(pod):
        yield from _privileged_container(container)


def _privileged_namespace(resource: Resource) -> Iterator[str]:
    metadata = resource.props.get("metadata") or {}
    level = (metadata.get("labels") or {}).get("pod-security.kubernetes.io/enforce")
    if level == "privileged" and metadata.get("name") not in PRIVILEGED_NAMESPACES:
        yield f"namespace {metadata.get('name')} lets privileged pods in"


def _privileged_values(resource: Resource) -> Iterator[str]:
    if resource.props.get("name") in HOST_NETWORK_RELEASES:
        return
    for path, value in _walk(resource.props.get("values") or {}, "values"):
        key = path.rpartition(".")[2]
        if key in ("privileged", "hostNetwork", "hostPID", "hostIPC") and value is True:
            yield f"{path} is true"


def _privileged_container(container: Container) -> Iterator[str]:
    context = container.spec.get("securityContext") or {}
    if context.get("privileged"):
        yield f"{container.place} is privileged"
    added = set((context.get("capabilities") or {}).get("add") or ()) - SAFE_CAPABILITIES
    if added:
        yield f"{container.place} adds capabilities {', '.join(sorted(added))}"


def limits_everywhere(resource: Resource) -> Iterator[str]:
    """Every container has a limit of CPU and of memory; what charts render is not seen here."""
    name = (resource.props.get("metadata") or {}).get("name")
    wanted = ("memory",) if name in UNTHROTTLED else ("cpu", "memory")
    for container in _containers(_pod_of(resource) or {}):
        limits = (container.spec.get("resources") or {}).get("limits") or {}
        missing = [key for key in wanted if key not in limits]
        if missing:
            yield f"{container.place} has no limit of {' and '.join(missing)}"


def images_by_digest(resource: Resource) -> Iterator[str]:
    """In production an image is named by its digest; a tag may be moved."""
    if not resource.is_production:
        return
    for place, image in _images(resource):
        if not _DIGEST.search(image):
            yield f"{place}: {image} is not named by digest (NAME@sha256:…)"


def no_latest(resource: Resource) -> Iterator[str]:
    """No image is `latest`, in words or by saying nothing."""
    for place, image in _images(resource):
        if _DIGEST.search(image) or image.startswith("sha256:"):
            continue
        if image.endswith(":latest") or not _TAG.search(image):
            yield f"{place}: {image} is whatever is newest"
    if resource.type == "kubernetes:helm.sh/v3:Release":
        for path, value in _walk(resource.props.get("values") or {}, "values"):
            if path.endswith(".tag") and value == "latest":
                yield f"{path} is latest"


def no_wildcard_rights(resource: Resource) -> Iterator[str]:
    """Rights name groups, resources and verbs; nobody of ours is cluster-admin."""
    if resource.kind in ("Role", "ClusterRole"):
        for number, rule in enumerate(resource.props.get("rules") or ()):
            for key in ("apiGroups", "resources", "verbs", "nonResourceURLs"):
                if "*" in (rule.get(key) or ()):
                    yield f"rules[{number}].{key} is *"
    role = resource.props.get("roleRef") or {}
    if role.get("name") == "cluster-admin":
        yield "it binds cluster-admin"


RULES: Mapping[str, Rule] = {
    "no-open-admin-ports": no_open_admin_ports,
    "protected-at-hetzner": protected_at_hetzner,
    "no-privileged-pods": no_privileged_pods,
    "limits-everywhere": limits_everywhere,
    "images-by-digest": images_by_digest,
    "no-latest": no_latest,
    "no-wildcard-rights": no_wildcard_rights,
}


def _pod_of(resource: Resource) -> Mapping[str, Any] | None:
    """Return the `spec` of the pods that an object makes."""
    spec: Mapping[str, Any] = resource.props.get("spec") or {}
    if resource.kind == "Pod":
        return spec
    if resource.kind == "CronJob":
        spec = ((spec.get("jobTemplate") or {}).get("spec")) or {}
    elif resource.kind not in _POD_TEMPLATES:
        return None
    found: Mapping[str, Any] = (spec.get("template") or {}).get("spec") or {}
    return found


def _containers(pod: Mapping[str, Any]) -> Iterator[Container]:
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for each in pod.get(key) or ():
            yield Container(f"{key}.{each.get('name')}", each)


def _images(resource: Resource) -> Iterator[tuple[str, str]]:
    for container in _containers(_pod_of(resource) or {}):
        yield container.place, container.image
    if resource.type == "docker:index/remoteImage:RemoteImage":
        yield "name", str(resource.props.get("name") or "")


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key in value:
            yield from _walk(value[key], f"{path}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for number, each in enumerate(value):
            yield from _walk(each, f"{path}[{number}]")
    else:
        yield path, value
