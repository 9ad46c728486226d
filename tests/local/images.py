"""The images that the stack `local` stands on, made of Debian's packages and Go modules.

Kept as archives in the cache, by what they are made from; the Docker Engine of the test loads them.
Kubernetes' own images are one static program each. Theirs is the name that kubeadm asks for; etcd
and CoreDNS are the toolchain's, whatever their tag says.
"""

import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bex_stack.embedded import binaries, golang, oci_layout
from bex_stack.embedded import toolchain as toolchains

FILES = Path(__file__).parent / "node"
POD_NETWORK = Path(__file__).parent / "pod_network" / "run"
POD_NETWORK_IMAGE = "bex.test/pod-network:1"
VERSION = binaries.module_version(
    (binaries.TOOLS / "node" / "go.mod").read_text(), "k8s.io/kubernetes"
)
NODE, BALANCER, REGISTRY = f"bex.test/node:{VERSION}", "bex.test/haproxy:1", "bex.test/registry:1"
TOOLS = ("kubeadm", "kubelet", "kubectl", "containerd", "containerd-shim-runc-v2", "ctr", "runc")
"""Programs that are on a machine itself."""
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
PROGRAMS = (*TOOLS, *binaries.CNI, *CONTROL_PLANE, "kube-proxy", "etcd", "coredns", "pause")
MADE_SECONDS = 900

_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "iproute2", "iptables", "nftables", "conntrack"),
    *("ethtool", "socat", "mount", "kmod", "procps", "ca-certificates", "curl", "hostname"),
    *("libseccomp2", "haproxy"),
)
_UNUSED_UNITS = (
    *("dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount", "getty.target"),
    *("sys-kernel-tracing.mount", "systemd-udevd.service", "systemd-udev-trigger.service"),
    *("systemd-logind.service", "systemd-binfmt.service", "systemd-modules-load.service"),
    *("systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer"),
    *("dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "haproxy.service"),
    "console-getty.service",
)
_ARCHIVED = "rootfs.tar"
_NO_BACKEND = """\
defaults
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend none
  bind :8404
"""
_PATH = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_IPTABLES = ("iptables", "ip6tables")
_FILTERS = (
    *("nft", "conntrack", *_IPTABLES),
    *(f"{each}-{verb}" for each in _IPTABLES for verb in ("save", "restore")),
)


def toolchain() -> toolchains.Toolchain:
    """Return the programs, built unless they are there."""
    return toolchains.ensure((*PROGRAMS, "registry", "crane"))


def node(tools: toolchains.Toolchain) -> Path:
    """Return the archive of a machine: systemd, containerd, kubeadm and Kubernetes' images."""
    parts = [f"{path}" for name in PROGRAMS for path in [tools.path(name)]]
    parts += [f"{file}:{file.read_text()}" for file in (*sorted(_files()), POD_NETWORK)]
    return _kept(tools, "node", parts, functools.partial(_make_node, tools))


def balancer(tools: toolchains.Toolchain) -> Path:
    """Return the archive of what stands before the control plane: Debian's HAProxy."""
    return _kept(tools, "haproxy", [], functools.partial(_make_balancer, tools))


def registry(tools: toolchains.Toolchain) -> Path:
    """Return the archive of an OCI registry."""

    def make(root: Path) -> None:
        _copy(tools.path("registry"), root / "registry")
        (root / "tmp").mkdir()

    return _kept(tools, "registry", [str(tools.path("registry"))], make)


def _files() -> Iterator[Path]:
    return (path for path in FILES.rglob("*") if path.is_file())


def _kept(
    tools: toolchains.Toolchain, name: str, parts: Sequence[str], make: Callable[[Path], None]
) -> Path:
    system = platform.freedesktop_os_release().get("VERSION_ID")
    recipe = Path(__file__).read_text()
    key = hashlib.sha256(repr((recipe, system, *parts)).encode()).hexdigest()[:16]
    made = tools.cache / "local" / f"{name}-{key}.tar"
    if made.is_file():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made.parent, prefix=".making-") as folder:
        root, archive = Path(folder) / "root", Path(folder) / _ARCHIVED
        root.mkdir(mode=0o755)
        make(root)
        _run(
            ["tar", "--create", "--numeric-owner", f"--file={archive}", f"--directory={root}", "."]
        )
        archive.replace(made)
    for older in set(made.parent.glob(f"{name}-*.tar")) - {made}:
        older.unlink()  # a gigabyte each; who reads one has it open
    return made


def _make_node(tools: toolchains.Toolchain, root: Path) -> None:
    _run(["tar", "--extract", f"--file={_debian(tools)}", f"--directory={root}"])
    for name in TOOLS:
        _copy(tools.path(name), root / "usr/local/bin" / name)
    for name in binaries.CNI:
        _copy(tools.path(name), root / "opt/cni/bin" / name)
    shutil.copytree(FILES, root, dirs_exist_ok=True)
    (root / "kind/version").write_text(VERSION)
    for unit in _UNUSED_UNITS:
        _run(["systemctl", f"--root={root}", "mask", "--quiet", unit])
    for unit in ("containerd", "images"):
        _run(["systemctl", f"--root={root}", "enable", "--quiet", unit])
    _run(["systemctl", f"--root={root}", "set-default", "--quiet", "multi-user.target"])
    _pack_images(tools, root)


def _make_balancer(tools: toolchains.Toolchain, root: Path) -> None:
    system = root.parent / "system"
    system.mkdir()
    _run(["tar", "--extract", f"--file={_debian(tools)}", f"--directory={system}"])
    _copy_programs(system, root, ["haproxy", "kill", "cp", "cat", "mkdir", "dash"])
    (root / "bin").symlink_to("usr/bin")
    (root / "usr/bin/sh").symlink_to("dash")
    config = root / "usr/local/etc/haproxy/haproxy.cfg"
    config.parent.mkdir(parents=True)
    # What it starts with: no control plane is known yet.
    config.write_text(_NO_BACKEND)
    # Cluster API's configuration asks for more open files than some hosts' root may allow.
    (root / "limits.cfg").write_text("global\n  no strict-limits\n")
    starter = root / "usr/local/sbin/haproxy"
    starter.parent.mkdir(parents=True)
    starter.write_text('#!/bin/sh\nexec /usr/sbin/haproxy -f /limits.cfg "$@"\n')
    starter.chmod(0o755)
    for name in ("tmp", "dev", "proc", "sys"):
        (root / name).mkdir()


def _debian(tools: toolchains.Toolchain) -> Path:
    """Return the archive of a Debian like this host's, from the mirrors of this host's apt."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    key = hashlib.sha256(repr((release, _PACKAGES)).encode()).hexdigest()[:16]
    made = tools.cache / "local" / f"debian-{key}.tar"
    if made.is_file():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    how = "deb $(REPO_URI) $(CODENAME) $(COMPONENT)"
    listed = _run(["apt-get", "indextargets", "--format", how, "Created-By: Packages"])
    left_out = [
        f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")
    ]
    with tempfile.TemporaryDirectory(dir=made.parent, prefix=".making-") as folder:
        sources, archive = Path(folder) / "sources.list", Path(folder) / "root.tar"
        sources.write_text(listed)
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", *left_out]
        command += [f"--include={','.join(_PACKAGES)}", release, str(archive), str(sources)]
        _run(command)
        archive.replace(made)
    return made


def _pack_images(tools: toolchains.Toolchain, root: Path) -> None:
    """Write one archive with every image that kubeadm asks for, and the pod network's."""
    kubeadm = [str(tools.path("kubeadm")), "config", "images", "list"]
    references = _run([*kubeadm, f"--kubernetes-version={VERSION}"]).split()
    images = {reference: _image(tools, root, reference) for reference in references}
    images[POD_NETWORK_IMAGE] = _pod_network_image(tools, root)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=".images-") as made:
        together, manifests = Path(made) / "all", []
        for number, (reference, image) in enumerate(images.items()):
            layout = Path(made) / str(number)
            oci_layout.write(image, layout)
            shutil.copytree(layout, together, dirs_exist_ok=True)
            (described,) = json.loads((layout / "index.json").read_bytes())["manifests"]
            named = {"io.containerd.image.name": reference}
            manifests.append({**described, "annotations": named})
        index = {"schemaVersion": 2, "manifests": manifests}
        (together / "index.json").write_text(json.dumps(index))
        with tarfile.open(root / "kubernetes-images.tar", "w") as archive:
            archive.add(together, ".")


def _image(tools: toolchains.Toolchain, root: Path, reference: str) -> oci_layout.Image:
    name = reference.rpartition("/")[2].partition(":")[0]
    files = {f"/usr/local/bin/{name}": tools.path(name).read_bytes()}
    if name == "kube-proxy":  # it calls programs of the packet filter
        files |= _programs(root, _FILTERS)
    return oci_layout.Image(
        files=files, entrypoint=(f"/usr/local/bin/{name}",), user="0:0", environment=_PATH
    )


def _pod_network_image(tools: toolchains.Toolchain, root: Path) -> oci_layout.Image:
    programs = _programs(root, ("dash", "ip", "cat", "mv", "sleep", "timeout"))
    files = {
        **programs,
        "/bin/sh": programs["/usr/bin/dash"],
        "/usr/local/bin/kubectl": tools.path("kubectl").read_bytes(),
        "/run-pod-network": POD_NETWORK.read_bytes(),
    }
    return oci_layout.Image(
        files=files, entrypoint=("/run-pod-network",), user="0:0", environment=_PATH
    )


def _programs(system: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return programs of a Debian, with every library they load, by path."""
    with tempfile.TemporaryDirectory(dir=system.parent) as made:
        _copy_programs(system, Path(made), names)
        found = [path for path in Path(made).rglob("*") if path.is_file()]
        return {f"/{path.relative_to(made)}": path.read_bytes() for path in found}


def _copy_programs(system: Path, root: Path, names: Sequence[str]) -> None:
    """Copy programs of a Debian, and every library they load, into another tree."""
    wanted = {Path(_inside(system, ["which", name]).strip()) for name in names}
    plugins = system / "usr/lib" / _triple(system) / "xtables"
    if "iptables" in names:
        wanted |= {Path("/") / each.relative_to(system) for each in plugins.glob("*.so")}
    loaded = _inside(system, ["ldd", *sorted(map(str, wanted))])
    words = [word for line in loaded.splitlines() if line.startswith("\t") for word in line.split()]
    wanted |= {Path(word) for word in words if word.startswith("/")}
    for path in wanted:
        _copy(Path(_resolved(system, path)), root / path.relative_to("/"))


def _resolved(system: Path, path: Path) -> str:
    return f"{system}{_inside(system, ['readlink', '-f', str(path)]).strip()}"


def _triple(system: Path) -> str:
    return next((system / "usr/lib").glob("*-linux-gnu")).name


def _inside(system: Path, command: list[str]) -> str:
    return _run(["chroot", str(system), *command])


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)


def _run(command: list[str], *, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=MADE_SECONDS,
        check=False,
        env={**os.environ, "LC_ALL": "C", **(env or {})},
    )
    if done.returncode != 0:
        raise golang.ToolchainError(f"{command[:4]} failed:\n{golang.last_lines(done.stderr)}")
    return done.stdout
