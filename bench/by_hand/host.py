"""Links, namespaces, rules and control groups on the host: made and removed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.by_hand import layout
from bench.by_hand.layout import Machine

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_RULES = f"""
table ip {layout.NAME} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {{ {layout.NETWORK}, {layout.POD_NETWORK} }} oifname != "{layout.BRIDGE}" masquerade
  }}
}}
"""
_END_SECONDS = 20


def make_network() -> None:
    """Make the bridge, let the host forward, let machines reach the outside."""
    _ip(
        f"link add {layout.BRIDGE} type bridge",
        f"addr add {layout.BRIDGE_ADDRESS}/24 dev {layout.BRIDGE}",
        f"link set {layout.BRIDGE} up",
    )
    if FORWARDING.read_text().strip() != "1":
        FORWARDING.write_text("1")
    subprocess.run(["nft", "-f", "-"], input=_RULES, text=True, check=True)


def make_machine(machine: Machine) -> None:
    """Make the machine's network namespace, cable, routes and control groups."""
    machine.netns.parent.mkdir(exist_ok=True)
    machine.netns.touch()
    subprocess.run(["unshare", f"--net={machine.netns}", "true"], check=True)
    _ip(
        f"link add {machine.veth} type veth peer name eth0 netns {layout.NAME}-{machine.name}",
        f"link set {machine.veth} master {layout.BRIDGE} up",
        f"route add {machine.pod_cidr} via {machine.address}",
    )
    inside = ["nsenter", f"--net={machine.netns}"]
    _ip(
        "link set lo up",
        f"addr add {machine.address}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {layout.BRIDGE_ADDRESS}",
        inside=inside,
    )
    forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
    subprocess.run([*inside, "sh", "-c", forward], check=True)
    for group in _groups(machine.cgroup):
        group.mkdir(parents=True, exist_ok=True)
        for folder in (group.parent, group):
            _prepare_group(folder)


def remove_all() -> None:
    """Remove everything that bears the name; what is missing is no error."""
    for path in Path("/run/netns").glob(f"{layout.NAME}-*"):
        subprocess.run(["umount", "--lazy", str(path)], check=False)
        path.unlink()
    with contextlib.suppress(OSError):  # others' namespaces lie there
        Path("/run/netns").rmdir()
    for link in sorted(Path("/sys/class/net").glob(f"{layout.NAME}*")):
        subprocess.run(["ip", "link", "del", link.name], check=False)
    rules = f"table ip {layout.NAME}\ndelete table ip {layout.NAME}\n"
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    for group in _groups(f"/{layout.NAME}"):
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()


def end_processes(mark: str) -> None:
    """Kill every process that carries the mark and wait until none is left.

    A machine ends with its first process, containers and all.
    """
    deadline = time.monotonic() + _END_SECONDS
    while pids := list(_marked(mark)) + list(_grouped()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {pids} do not end")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _marked(mark: str) -> Iterator[int]:
    wanted = f"{layout.MARKER}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)


def _grouped() -> Iterator[int]:
    for group in _groups(f"/{layout.NAME}"):
        for file in group.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                yield from (int(line) for line in file.read_text().split() if line != "0")


def _groups(name: str) -> list[Path]:
    """The control group in every hierarchy, whether it exists or not (v2: one hierarchy)."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return [root / name.lstrip("/")]
    found = {path.resolve() for path in root.iterdir() if (path / "cgroup.procs").exists()}
    return [path / name.lstrip("/") for path in sorted(found)]


def _prepare_group(folder: Path) -> None:
    """Version 1: a new cpuset is empty and takes no process. Version 2: pass controllers on."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if (folder.parent / "cgroup.clone_children").exists() and (folder / file).exists():
            (folder / file).write_text((folder.parent / file).read_text())
    available = folder.parent / "cgroup.controllers"
    for controller in available.read_text().split() if available.exists() else ():
        if controller in ("cpu", "cpuset", "memory", "pids", "hugetlb", "io"):
            (folder.parent / "cgroup.subtree_control").write_text(f"+{controller}")
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def _ip(*lines: str, inside: Sequence[str] = ()) -> None:
    text = "".join(f"{line}\n" for line in lines)
    subprocess.run([*inside, "ip", "-batch", "-"], input=text, text=True, check=True)
