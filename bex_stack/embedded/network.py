"""Links, addresses and routes of an instance: its bridge, one cabled namespace per machine.

Every machine reaches the host by the bridge, and everything else through the host: pods of other
machines, too, so that a machine that joins or leaves changes a route on the host and nothing in
other machines.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from bex_stack.embedded import build_network, netlink
from bex_stack.embedded import instance as instances

NETNS_DIR = Path("/run/netns")
_BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_CLONE_NEWNET = 0x40000000
_COMMAND_SECONDS = 60
T = TypeVar("T")


class NetworkError(RuntimeError):
    """The host refused a link, address, route or namespace."""


def netns_file(instance: instances.Instance, machine: str) -> Path:
    """Where the machine's network namespace is held open."""
    return NETNS_DIR / instance.namespace(machine)


def netns_id(instance: instances.Instance, machine: str) -> str:
    """What tells the machine's network namespace from others, earlier ones included, or ''."""
    path = netns_file(instance, machine)
    return str(path.stat().st_ino) if _is_mounted(path) else ""


def ensure_bridge(instance: instances.Instance) -> None:
    """Let the bridge exist, be up and hold the host's address."""
    _ensure_bridge_filter()
    with _routes() as routes:
        index = _index(instance.bridge)
        if index is None:
            routes.add_bridge(instance.bridge)
            index = socket.if_nametoindex(instance.bridge)
        address = f"{instance.bridge_address}/{instance.network.prefixlen}"
        routes.ensure_address(index, address)
        routes.raise_link(index)


def has_bridge(instance: instances.Instance) -> bool:
    """Whether the bridge exists."""
    return _index(instance.bridge) is not None


def ensure_machine(instance: instances.Instance, machine: str, slot: int) -> None:
    """Let the machine's namespace exist, cabled to the bridge, with its address and routes."""
    path = netns_file(instance, machine)
    if not _is_mounted(path):
        _create_netns(path)
    veth, address = instance.veth(slot), instance.machine_address(slot)
    with _routes() as routes:
        bridge = _index(instance.bridge)
        if bridge is None:
            raise NetworkError(f"bridge {instance.bridge!r} of machine {machine!r} is missing")
        if _index(veth) is None or not _inside(path, _has_cable):
            _remove_link(routes, veth)
            with path.open() as namespace:
                routes.add_cable(veth, peer="eth0", peer_netns=namespace.fileno())
        routes.raise_link(socket.if_nametoindex(veth), master=bridge)
        prefix = instance.network.prefixlen
        _inside(path, lambda: _configure_inside(f"{address}/{prefix}", instance.bridge_address))
        rules = build_network.render_table(instance, slot)
        _inside(path, lambda: build_network.apply_here(rules))
        routes.ensure_route(instance.pod_cidr(slot), gateway=address, index=bridge)


def has_machine(instance: instances.Instance, machine: str, slot: int) -> bool:
    """Whether the machine's namespace, its cable and the rules for its builds exist."""
    path = netns_file(instance, machine)
    cabled = _index(instance.veth(slot)) is not None and _is_mounted(path)
    return cabled and _inside(path, build_network.is_in_place_here)


def remove_machine(instance: instances.Instance, machine: str, slot: int) -> None:
    """Remove what `ensure_machine` made; what is missing is no error."""
    with _routes() as routes:
        _remove_route(routes, instance.pod_cidr(slot))
        _remove_link(routes, instance.veth(slot))
    _remove_netns(netns_file(instance, machine))


def remove_all(instance: instances.Instance) -> None:
    """Remove every link and namespace named after the instance, known machine or not."""
    for path in sorted(NETNS_DIR.glob(f"{instance.name}-*")):
        _remove_netns(path)
    with _routes() as routes:
        for _, name in socket.if_nameindex():
            prefix, dash, slot = name.partition("-")
            if prefix == instance.name and dash and slot.isdecimal():
                _remove_link(routes, name)
        _remove_link(routes, instance.bridge)


def leftovers(instance: instances.Instance) -> list[str]:
    """Names of links and namespaces of the instance that exist."""
    names = [name for _, name in socket.if_nameindex()]
    links = [n for n in names if n == instance.bridge or n.startswith(f"{instance.name}-")]
    return links + [path.name for path in NETNS_DIR.glob(f"{instance.name}-*")]


def _ensure_bridge_filter() -> None:
    """Let bridged packets pass the rules: or no answer finds its way to a pod that asked a Service
    and got a pod of its own machine."""
    if _BRIDGE_FILTER.exists():
        return
    try:
        _run(["modprobe", "br_netfilter"])
    except (NetworkError, OSError) as exc:
        raise NetworkError(f"the kernel has no br_netfilter, and {exc}") from exc


def _is_mounted(path: Path) -> bool:
    """Whether a namespace is mounted on the file *path* (Path.is_mount knows folders only)."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False


def _create_netns(path: Path) -> None:
    path.parent.mkdir(mode=0o755, exist_ok=True)
    path.touch(mode=0o444)
    # unshare(1) mounts the namespace itself; `ip netns` makes a mount of the whole folder.
    _run(["unshare", f"--net={path}", "true"])


def _remove_netns(path: Path) -> None:
    while _is_mounted(path):
        _run(["umount", "--lazy", str(path)])
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # others' namespaces lie there, or it never existed
        NETNS_DIR.rmdir()


def _configure_inside(address: str, gateway: str) -> None:
    """Runs inside the machine's network namespace."""
    # Machines route for their pods. Redirects would name a neighbour that pods cannot reach.
    for setting, value in (("ip_forward", "1"), ("conf/all/accept_redirects", "0")):
        _sysctl_here(f"net/ipv4/{setting}", value)
    with _routes() as routes:
        routes.raise_link(socket.if_nametoindex("lo"))
        index = socket.if_nametoindex("eth0")
        routes.ensure_address(index, address)
        routes.raise_link(index)
        routes.ensure_route("0.0.0.0/0", gateway=gateway)


def _has_cable() -> bool:
    return _index("eth0") is not None


def _sysctl_here(name: str, value: str) -> None:
    """Set *name* in the network namespace of the calling thread."""
    Path(f"/proc/thread-self/root/proc/sys/{name}").write_text(value)


def _inside(path: Path, action: Callable[[], T]) -> T:
    """Do *action* in the network namespace at *path*, on a thread that ends with it.

    A namespace belongs to a thread; leaving by ending needs no way back that could fail.
    """
    result: list[T] = []
    failure: list[Exception] = []

    def enter_and_act() -> None:
        try:
            _set_netns(path)
            result.append(action())
        except Exception as exc:  # noqa: BLE001 - handed to the caller, who raises it
            failure.append(exc)

    thread = threading.Thread(target=enter_and_act, name=f"netns-{path.name}")
    thread.start()
    thread.join()
    if failure:
        raise NetworkError(f"network namespace {path.name!r}: {failure[0]}") from failure[0]
    return result[0]


def _set_netns(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open() as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def _remove_route(routes: netlink.Netlink, destination: str) -> None:
    with _tolerating(errno.ESRCH):  # it went with the bridge, or was never made
        routes.delete_route(destination)


def _remove_link(routes: netlink.Netlink, name: str) -> None:
    index = _index(name)
    if index is not None:
        # The kernel takes a cable away by itself, some time after the last use of its namespace.
        with _tolerating(errno.ENODEV):
            routes.delete_link(index)


@contextlib.contextmanager
def _tolerating(code: int) -> Iterator[None]:
    """Let the kernel's refusal *code* pass."""
    try:
        yield
    except OSError as exc:
        if exc.errno != code:
            raise


def _index(name: str) -> int | None:
    """Number of the link *name* in the calling thread's network namespace, or None."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


@contextlib.contextmanager
def _routes() -> Iterator[netlink.Netlink]:
    """The kernel's links, addresses and routes, seen from this thread's network namespace."""
    try:
        with netlink.Netlink() as routes:
            yield routes
    except OSError as exc:
        raise NetworkError(f"the kernel refused a network change: {exc}") from exc


def _run(command: list[str]) -> None:
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_COMMAND_SECONDS
        )
    except subprocess.CalledProcessError as exc:
        raise NetworkError(f"{' '.join(command)}: {exc.stderr.strip()}") from exc
