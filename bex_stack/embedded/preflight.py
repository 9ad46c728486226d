"""What this host must offer before anything is started: rules over an observed `Host`.

Every rule that fails is reported, each with what mends it. Pure: `host_facts` looks at the host,
`system_packages` installs what Debian has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

GIB = 1024**3
MIN_MEMORY_GIB = 2
CACHE_GIB = 8
"""Go's caches of a cold build (about 6 GiB) and the programs (1 GiB), with some room."""
STATE_GIB = 2
"""Images and logs of a few small apps, etcd's 120 MB of preallocated log."""

COMMAND_PACKAGES = {
    "nft": "nftables",
    "mount": "mount",
    "umount": "mount",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "flock": "util-linux",
    "pivot_root": "util-linux",
}
"""System tools real machines need, and the Debian package that holds each."""

OTHER_WAYS = "run bex on a Linux host, for instance in a virtual machine"
SIMULATED_WAY = "or run simulated machines, which need none of it: bex:machines: simulated"


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the host that is to be served."""

    number: int
    setting: str
    """The key of the stack file that names it, such as `bex:edgeHttpPort`."""
    address: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Needs:
    """What is about to be done."""

    cache: Path
    state: Path
    has_real_machines: bool = True
    builds: tuple[str, ...] = ()
    """Programs that are not in the cache yet (`toolchain.missing`)."""
    ports: tuple[Port, ...] = ()
    instance: str | None = None
    """Ports held by this instance's own processes count as free."""
    instance_dir: Path | None = None
    """Where that instance lies; one of its name that runs from elsewhere is in the way."""
    makes_operator_image: bool = False
    """The operator is to run as a pod and its image is not in the cache."""
    tries_kernel: bool = True
    """Try namespaces and mounts; may be left out where an instance already runs."""


@dataclass(frozen=True, slots=True)
class Host:
    """What a host offers, as far as the rules ask."""

    system: str
    """`Linux`, as uname says."""
    is_root: bool
    commands: frozenset[str]
    """Those of the tools asked for that PATH has."""
    free_bytes: Mapping[Path, int]
    filesystems: Mapping[Path, int]
    """Device number per folder: two folders on one share its space."""
    memory_bytes: int
    has_c_compiler: bool = True
    has_seccomp_headers: bool = True
    """pkg-config is there and finds libseccomp."""
    has_certificates: bool = True
    """A bundle of certificate authorities, for module and package registries."""
    kernel_errors: Mapping[str, str] = field(default_factory=dict)
    """Feature -> why it does not work; empty when all work or none was tried."""
    taken_ports: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """(address, port) -> who holds it, in words."""
    has_apt: bool = True
    elsewhere: Path | None = None
    """Folder of a running instance that has the name of ours and another BEX_HOME."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One rule the host breaks."""

    what: str
    rule: str
    mend: str
    """A command, or what to change."""
    packages: tuple[str, ...] = ()
    """Debian packages that mend it."""

    def __str__(self) -> str:
        return f"{self.what}: {self.rule}\n    {self.mend}"


def check(needs: Needs, host: Host) -> list[Problem]:
    """Return every rule that *host* breaks; empty when *needs* can be met."""
    if host.system != "Linux":
        rule = f"embedded machines are Linux namespaces, and this is {host.system}"
        return [Problem("system", rule, OTHER_WAYS)]
    return [
        *check_name(needs, host.elsewhere),
        *_check_privilege(needs, host),
        *_check_tools(needs, host),
        *_check_packages(needs, host),
        *_check_compiler(needs, host),
        *_check_space(needs, host),
        *_check_memory(host),
        *_check_kernel(host),
        *_check_ports(needs, host),
    ]


def check_name(needs: Needs, elsewhere: Path | None) -> Iterator[Problem]:
    """Yield a problem if the instance's name is taken by a running one of another BEX_HOME."""
    if elsewhere is not None:
        yield Problem(
            f"instance {needs.instance!r}",
            f"one of that name runs from {elsewhere}, and links, groups and rules go by the name",
            f"take that one down (BEX_HOME={elsewhere.parents[1]} bex destroy), or give this stack"
            " another bex:instance, bex:network, bex:podNetwork and other ports",
        )


def _package(what: str, rule: str, host: Host, *packages: str) -> Problem:
    names = " ".join(packages)
    mend = (
        f"apt-get install -y {names}"
        if host.has_apt
        else f"install what Debian calls {names} with this system's package manager"
    )
    return Problem(what, rule, mend, packages)


def _check_privilege(needs: Needs, host: Host) -> Iterator[Problem]:
    if needs.has_real_machines and not host.is_root:
        rule = "real machines need root: they are namespaces, mounts, links and firewall rules"
        yield Problem("user", rule, f"run it as root (sudo make up), {SIMULATED_WAY}")


def _check_tools(needs: Needs, host: Host) -> Iterator[Problem]:
    if not needs.has_real_machines:
        return
    for command, package in COMMAND_PACKAGES.items():
        if command not in host.commands:
            yield _package(command, "machines are made with it, and PATH has none", host, package)


def _check_packages(needs: Needs, host: Host) -> Iterator[Problem]:
    if needs.makes_operator_image and not host.has_apt:
        yield Problem(
            "apt-get",
            "the operator's image is made of Debian's packages",
            "run the operator from source instead: bex:operator: source",
        )


def _check_compiler(needs: Needs, host: Host) -> Iterator[Problem]:
    if needs.builds and not host.has_certificates:
        rule = "Go checks the certificate of the module registry, and no authorities are known"
        yield _package("certificates", rule, host, "ca-certificates")
    if "runc" not in needs.builds:
        return
    if not host.has_c_compiler:
        rule = "runc is built with one, for its seccomp filter"
        yield _package("C compiler", rule, host, "gcc", "libc6-dev")
    if not host.has_seccomp_headers:
        rule = "runc needs them (and pkg-config): without seccomp every pod would fail"
        yield _package("libseccomp headers", rule, host, "libseccomp-dev", "pkg-config")


def _check_space(needs: Needs, host: Host) -> Iterator[Problem]:
    wanted = {"state (BEX_HOME)": (needs.state, STATE_GIB)}
    if needs.builds:
        wanted["cache (BEX_CACHE)"] = (needs.cache, CACHE_GIB)
    by_disk: dict[int, list[tuple[str, Path, int]]] = {}
    for name, (folder, gib) in wanted.items():
        by_disk.setdefault(host.filesystems[folder], []).append((name, folder, gib))
    for users in by_disk.values():
        total = sum(gib for _, _, gib in users)
        free = min(host.free_bytes[folder] for _, folder, _ in users)
        if free < total * GIB:
            names = " and ".join(f"{name} {folder}" for name, folder, _ in users)
            yield Problem(
                "disk space",
                f"{names}: {free / GIB:.1f} GiB free, {total} GiB needed",
                "free some space there, or name folders on other disks with BEX_HOME and BEX_CACHE",
            )


def _check_memory(host: Host) -> Iterator[Problem]:
    if host.memory_bytes < MIN_MEMORY_GIB * GIB:
        yield Problem(
            "memory",
            f"{host.memory_bytes / GIB:.1f} GiB in all, {MIN_MEMORY_GIB} GiB needed",
            "use a machine with more memory",
        )


def _check_kernel(host: Host) -> Iterator[Problem]:
    for feature, error in host.kernel_errors.items():
        rule = f"machines need it, and trying it said: {error}"
        yield Problem(f"kernel: {feature}", rule, f"modprobe {feature}, {SIMULATED_WAY}")


def _check_ports(needs: Needs, host: Host) -> Iterator[Problem]:
    for port in needs.ports:
        holder = host.taken_ports.get((port.address, port.number))
        if holder is not None:
            yield Problem(
                f"port {port.number}",
                f"{port.address}:{port.number} is in use by {holder}",
                f"stop that, or set {port.setting} in the stack file to another port",
            )
