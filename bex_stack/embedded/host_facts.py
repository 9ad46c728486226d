"""Looks at this host for `preflight`: tools, disks, memory, kernel, ports. Changes nothing."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from bex_stack.embedded import instance, orphans, preflight

PROBE_TIMEOUT_SECONDS = 60
ASK_TIMEOUT_SECONDS = 60

_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where Go looks on Linux (crypto/x509/root_linux.go), besides SSL_CERT_FILE and SSL_CERT_DIR."""

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp


def observe(needs: preflight.Needs) -> preflight.Host:
    """Return what *needs* asks about; costs about half a second if the kernel is tried."""
    folders = {folder: _existing(folder) for folder in (needs.cache, needs.state)}
    is_linux = platform.system() == "Linux"
    is_root = os.geteuid() == 0
    commands = frozenset(filter(shutil.which, preflight.COMMAND_PACKAGES))
    tries_kernel = is_linux and is_root and needs.has_real_machines and needs.tries_kernel
    compiles = bool(needs.builds)
    return preflight.Host(
        system=platform.system(),
        is_root=is_root,
        commands=commands,
        free_bytes={folder: _free(there) for folder, there in folders.items()},
        filesystems={folder: there.stat().st_dev for folder, there in folders.items()},
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        has_c_compiler=not compiles or _has_c_compiler(),
        has_seccomp_headers=not compiles or _has_package("libseccomp"),
        has_certificates=not compiles or _has_certificates(),
        kernel_errors=_kernel_errors(folders[needs.state], commands) if tries_kernel else {},
        taken_ports=dict(_taken_ports(needs.ports, needs.instance)),
        has_apt=shutil.which("apt-get") is not None,
        elsewhere=find_elsewhere(needs) if is_linux else None,
    )


def find_elsewhere(needs: preflight.Needs) -> Path | None:
    """Return the folder of a running instance that has our instance's name and is another."""
    if needs.instance is None or needs.instance_dir is None:
        return None
    return orphans.elsewhere(needs.instance, needs.instance_dir)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())


def _free(folder: Path) -> int:
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize


def _has_c_compiler() -> bool:
    compiler = os.environ.get("CC", "gcc").split()[0]
    if shutil.which(compiler) is None:
        return False
    # A compiler without the C library's headers (package gcc without libc6-dev) builds nothing.
    return _succeeds([compiler, "-E", "-x", "c", "-"], b"#include <stdlib.h>\n")


def _has_package(name: str) -> bool:
    return _succeeds([os.environ.get("PKG_CONFIG", "pkg-config"), "--exists", name])


def _succeeds(command: list[str], given: bytes = b"") -> bool:
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, timeout=ASK_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _has_certificates() -> bool:
    named = [os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")]
    return any(Path(path).exists() for path in [*filter(None, named), *_CERTIFICATES])


def _kernel_errors(scratch: Path, commands: frozenset[str]) -> dict[str, str]:
    """Try everything in throw-away namespaces; a missing tool is another rule's to report."""
    if not {"unshare", "mount", "umount"} <= commands:
        return {}
    errors = {}
    if not _has_writable_cgroups():
        errors["cgroups"] = "no writable hierarchy with the memory controller below /sys/fs/cgroup"
    command = [
        *("unshare", "--net", "--mount", "--uts", "--pid", "--ipc", "--fork", "--kill-child"),
        *(sys.executable, "-m", "bex_stack.embedded.kernel_probe", str(scratch)),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return errors | {"namespaces": f"no answer within {PROBE_TIMEOUT_SECONDS} s"}
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return errors | {"namespaces": last}
    tried: dict[str, str] = json.loads(done.stdout)
    return errors | tried


def _has_writable_cgroups() -> bool:
    root = Path("/sys/fs/cgroup")
    controllers = root / "cgroup.controllers"
    if controllers.exists():
        return "memory" in controllers.read_text().split() and not _is_read_only(root)
    memory = root / "memory"
    return memory.is_dir() and not _is_read_only(memory)


def _is_read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _taken_ports(
    ports: Iterable[preflight.Port], own: str | None
) -> Iterator[tuple[tuple[str, int], str]]:
    taken = [port for port in ports if not _can_bind(port.address, port.number)]
    listeners = _listeners({port.number for port in taken}) if taken else {}
    for port in taken:
        pid = listeners.get(port.number)
        if own is not None and pid is not None and _belongs_to(pid, own):
            continue
        yield (port.address, port.number), _describe(pid)


def _can_bind(address: str, port: int) -> bool:
    """Tell whether nobody listens there; a port in TIME_WAIT or forbidden to us is not taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except OSError as exc:
            return exc.errno != errno.EADDRINUSE
        return True


def _listeners(ports: set[int]) -> dict[int, int]:
    """Return port -> process that listens on it, as far as this user may see them.

    A busy host has thousands of open files: they are gone through once, without Path objects.
    """
    wanted = dict(_listening(ports))
    found: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            folder = f"{process}/fd"
            for descriptor in os.listdir(folder):  # noqa: PTH208
                with contextlib.suppress(OSError):
                    port = wanted.get(os.readlink(f"{folder}/{descriptor}"))  # noqa: PTH115
                    if port is not None:
                        found[port] = int(process.name)
    return found


def _listening(ports: set[int]) -> Iterator[tuple[str, int]]:
    """Yield how the listening sockets of *ports* read among open files, each with its port."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                port = int(fields[1].rpartition(":")[2], 16)
                if fields[3] == _LISTEN and port in ports:
                    yield f"socket:[{fields[9]}]", port


def _belongs_to(pid: int, own: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{instance.MARKER}={own}".encode() in environment


def _describe(pid: int | None) -> str:
    if pid is None:
        return "another process"
    with contextlib.suppress(OSError):
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (process {pid})"
    return f"process {pid}"
