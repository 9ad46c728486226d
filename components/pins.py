"""Everything a stack brings from outside, once: versions here, checksums in `pins.lock`.

Nothing else is downloaded. What the Go modules of `tools/` carry has its checksum in their go.sum;
every other file and image gets one by `bex pins lock`, which a person runs where the internet is.
An entry without a checksum is shown in a preview and refused by an `up`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

LOCK = Path(__file__).with_name("pins.lock")

Stack = Literal["capd", "caph"]

KUBERNETES = "v1.36.4"
CLUSTER_API = "v1.14.2"
CAPH = "v1.1.8"
CERT_MANAGER = "v1.21.1"
K3S = "v1.36.2+k3s1"
CALICO = "v3.32.1"
CILIUM = "1.19.4"


@dataclass(frozen=True, slots=True)
class File:
    """A file: a chart, a provider's components, a program."""

    name: str
    """File name; unique, and the name in a mirror's folder."""
    url: str
    stacks: tuple[Stack, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """A container image, by name and tag; its digest is in the lock."""

    reference: str
    stacks: tuple[Stack, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A program built from a Go module of `tools/cluster-api`; go.sum has its checksum."""

    name: str
    module: str
    version: str


PROGRAMS = (
    Program("kind", "sigs.k8s.io/kind", "v0.33.0"),
    Program("clusterctl", "sigs.k8s.io/cluster-api", CLUSTER_API),
)

BOTH: tuple[Stack, ...] = ("capd", "caph")
_CAPI = f"https://github.com/kubernetes-sigs/cluster-api/releases/download/{CLUSTER_API}"
_CAPH = f"https://github.com/syself/cluster-api-provider-hetzner/releases/download/{CAPH}"
_CERT_MANAGER = "https://github.com/cert-manager/cert-manager/releases/download"


def _chart(name: str, version: str, url: str, stacks: tuple[Stack, ...] = BOTH) -> File:
    return File(f"{name}-{version}.tgz", url, stacks)


CERT_MANAGER_MANIFEST = File(
    f"cert-manager/{CERT_MANAGER}/cert-manager.yaml",
    f"{_CERT_MANAGER}/{CERT_MANAGER}/cert-manager.yaml",
    BOTH,
)


def _provider(
    folder: str, version: str, base: str, components: str, *stacks: Stack
) -> tuple[File, ...]:
    """Name a provider's files as clusterctl's local repositories lie."""
    return tuple(
        File(f"{folder}/{version}/{name}", f"{base}/{name}", stacks)
        for name in (components, "metadata.yaml")
    )


CORE = _provider("cluster-api", CLUSTER_API, _CAPI, "core-components.yaml", *BOTH)
BOOTSTRAP = _provider("bootstrap-kubeadm", CLUSTER_API, _CAPI, "bootstrap-components.yaml", *BOTH)
CONTROL_PLANE = _provider(
    "control-plane-kubeadm", CLUSTER_API, _CAPI, "control-plane-components.yaml", *BOTH
)
DOCKER = _provider(
    "infrastructure-docker",
    CLUSTER_API,
    _CAPI,
    "infrastructure-components-development.yaml",
    "capd",
)
HETZNER = _provider("infrastructure-hetzner", CAPH, _CAPH, "infrastructure-components.yaml", "caph")
K3S_BINARY = File("k3s", f"https://github.com/k3s-io/k3s/releases/download/{K3S}/k3s", ("caph",))

CALICO_CHART = _chart(
    "tigera-operator",
    CALICO,
    f"https://github.com/projectcalico/calico/releases/download/{CALICO}/tigera-operator-{CALICO}.tgz",
)
CILIUM_CHART = _chart("cilium", CILIUM, f"https://helm.cilium.io/cilium-{CILIUM}.tgz")
CERT_MANAGER_CHART = _chart(
    "cert-manager",
    CERT_MANAGER,
    f"https://charts.jetstack.io/charts/cert-manager-{CERT_MANAGER}.tgz",
)
TRAEFIK_CHART = _chart(
    "traefik", "41.0.0", "https://traefik.github.io/charts/traefik/traefik-41.0.0.tgz"
)
METRICS_CHART = _chart(
    "metrics-server",
    "3.12.2",
    "https://github.com/kubernetes-sigs/metrics-server/releases/download/"
    "metrics-server-helm-chart-3.12.2/metrics-server-3.12.2.tgz",
)
CSR_APPROVER_CHART = _chart(
    "kubelet-csr-approver",
    "1.2.7",
    "https://github.com/postfinance/kubelet-csr-approver/releases/download/"
    "kubelet-csr-approver-1.2.7/kubelet-csr-approver-1.2.7.tgz",
)
CCM_CHART = _chart(
    "hcloud-cloud-controller-manager",
    "1.31.1",
    "https://github.com/hetznercloud/hcloud-cloud-controller-manager/releases/download/v1.31.1/"
    "hcloud-cloud-controller-manager-1.31.1.tgz",
    ("caph",),
)
CSI_CHART = _chart(
    "hcloud-csi",
    "2.21.2",
    "https://github.com/hetznercloud/csi-driver/releases/download/v2.21.2/hcloud-csi-2.21.2.tgz",
    ("caph",),
)

PROVIDERS: Sequence[File] = (
    CERT_MANAGER_MANIFEST,
    *CORE,
    *BOOTSTRAP,
    *CONTROL_PLANE,
    *DOCKER,
    *HETZNER,
)
"""What `clusterctl init` installs."""
PLATFORM_CHARTS: Sequence[File] = (
    CERT_MANAGER_CHART,
    TRAEFIK_CHART,
    METRICS_CHART,
    CSR_APPROVER_CHART,
)
FILES: Sequence[File] = (
    *PROVIDERS,
    *PLATFORM_CHARTS,
    K3S_BINARY,
    CALICO_CHART,
    CILIUM_CHART,
    CCM_CHART,
    CSI_CHART,
)

ZOT = Image("ghcr.io/project-zot/zot:v2.1.21", BOTH)
PAUSE = Image("registry.k8s.io/pause:3.10.2", BOTH)
AUTOSCALER = Image("registry.k8s.io/autoscaling/cluster-autoscaler:v1.35.0", BOTH)
LOCAL_PATH = Image("docker.io/rancher/local-path-provisioner:v0.0.36", ("capd",))
LOCAL_PATH_WORKER = Image("docker.io/library/busybox:1.37.0", ("capd",))
OF_LOCAL_PATH: Sequence[Image] = (LOCAL_PATH, LOCAL_PATH_WORKER)
LOAD_BALANCER = Image("docker.io/kindest/haproxy:v20230606-42a2262b", ("capd",))

OPERATOR_BUILD = Image("docker.io/library/python:3.11-slim-bookworm", ("capd",))
OPERATOR_RUNTIME = Image("gcr.io/distroless/python3-debian12:nonroot", ("capd",))
"""What `operator/Dockerfile` starts from; tags that move, so the digests decide."""

OF_CERT_MANAGER: Sequence[Image] = tuple(
    Image(f"quay.io/jetstack/cert-manager-{part}:{CERT_MANAGER}", BOTH)
    for part in ("controller", "webhook", "cainjector", "startupapicheck", "acmesolver")
)
OF_CLUSTER_API: Sequence[Image] = (
    *(
        Image(f"registry.k8s.io/cluster-api/{part}:{CLUSTER_API}", BOTH)
        for part in (
            "cluster-api-controller",
            "kubeadm-bootstrap-controller",
            "kubeadm-control-plane-controller",
        )
    ),
    Image(f"gcr.io/k8s-staging-cluster-api/capd-manager:{CLUSTER_API}", ("capd",)),
    Image(f"ghcr.io/syself/caph:{CAPH}", ("caph",)),
)
OF_PLATFORM: Sequence[Image] = (
    Image("docker.io/library/traefik:v3.7.5", BOTH),
    Image("registry.k8s.io/metrics-server/metrics-server:v0.7.2", BOTH),
    Image("ghcr.io/postfinance/kubelet-csr-approver:v1.2.7", BOTH),
)
OF_CHARTS: Sequence[Image] = (
    *OF_CERT_MANAGER,
    *OF_CLUSTER_API,
    *OF_PLATFORM,
    Image("docker.io/hetznercloud/hcloud-cloud-controller-manager:v1.31.1", ("caph",)),
    Image("docker.io/hetznercloud/hcloud-csi-driver:v2.21.2", ("caph",)),
)
"""Images that charts and components name themselves; a mirror must have them. Those of the pod
networks and of the CSI driver's sidecars are not here yet: their names are inside the charts."""

IMAGES: Sequence[Image] = (
    ZOT,
    PAUSE,
    AUTOSCALER,
    LOCAL_PATH,
    LOCAL_PATH_WORKER,
    LOAD_BALANCER,
    OPERATOR_BUILD,
    OPERATOR_RUNTIME,
    *OF_CHARTS,
)

NODE_IMAGES: Mapping[str, Image] = {
    version: Image(f"docker.io/kindest/node:{version}", ("capd",))
    for version in ("v1.37.0", "v1.36.4", "v1.35.8", "v1.34.11")
}
"""Machines of the `local` stack by Kubernetes version. Their digests in the lock are those of the
table in Cluster API's Docker provider (`infrastructure/kind/mapper.go` of the module
`sigs.k8s.io/cluster-api/test`, whose checksum is in go.sum)."""

CLOUD_IMAGES: Mapping[str, str] = {"infra": "ubuntu-24.04"}
"""Hetzner's own images; it replaces them in place, so they have a name and no checksum. Machines
of the app cluster start from a snapshot of yours: `bex:machineImage`."""


def names_of(*groups: Sequence[File | Image]) -> frozenset[str]:
    """Name what is in *groups* as the lock does."""
    return frozenset(
        each.name if isinstance(each, File) else each.reference
        for group in groups
        for each in group
    )


@dataclass(frozen=True, slots=True)
class Lock:
    """Checksums: SHA-256 of files by name, digests of images by reference."""

    files: Mapping[str, str]
    images: Mapping[str, str]

    def sha256(self, file: File) -> str | None:
        """Return a file's checksum; None if it has none yet."""
        return self.files.get(file.name)

    def reference(self, image: Image) -> str:
        """Return how an image is named in a manifest: with its digest where it is locked."""
        digest = self.images.get(image.reference)
        return f"{image.reference}@{digest}" if digest else image.reference

    def missing(self, stack: Stack) -> tuple[str, ...]:
        """Name what *stack* brings from outside that has no checksum yet."""
        files = [f.name for f in FILES if stack in f.stacks and f.name not in self.files]
        images = [
            i.reference for i in IMAGES if stack in i.stacks and i.reference not in self.images
        ]
        return (*files, *images)


@cache
def lock(path: Path = LOCK) -> Lock:
    """Read the lock file; without one nothing is locked."""
    if not path.is_file():
        return Lock({}, {})
    held = json.loads(path.read_text())
    return Lock(held["files"], held["images"])


def write(found: Lock, path: Path = LOCK) -> None:
    """Write a lock file, sorted, so that a diff shows what changed."""
    held = {"files": dict(found.files), "images": dict(found.images)}
    path.write_text(json.dumps(held, indent=2, sort_keys=True) + "\n")


def of_stack(stack: Stack) -> Sequence[File | Image]:
    """List what *stack* brings from outside as files and images."""
    everything: tuple[File | Image, ...] = (*FILES, *IMAGES)
    return [each for each in everything if stack in each.stacks]
