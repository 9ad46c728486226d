"""Plays a host whose own firewall drops packets, with a machine on it and a server outside.

Run in network and mount namespaces of its own, `python -m tests.support.dropping_host FOLDER RULES`
prints as JSON what the machine reaches before and after the instance's rules are in place.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bex_stack.embedded import disk, firewall, host_rules, netlink, network
from bex_stack.embedded import instance as instances

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_OUTSIDE, _UPLINK = "192.0.2.2", "192.0.2.1"
_PORT = instances.API_PORT  # one that machines may ask the host for
_SILENCE_SECONDS = 2.0
_ANSWER_SECONDS = 60.0
_servers: list[socket.socket] = []


def main(folder: Path, rules: str) -> None:
    """Build, try, print."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    instance = instances.from_inputs(
        {
            "name": "fwt",
            "home": str(folder),
            "network": "10.83.0.0/24",
            "pod_network": "10.183.0.0/16",
        }
    )
    disk.ensure_dir(instance.dir)
    disk.ensure_dir(instance.etc_dir)
    network.ensure_bridge(instance)
    network.ensure_machine(instance, "worker-1", 1)
    make_outside()
    listen(instance.bridge_address)
    load(rules)
    load(firewall.render_table(instance))
    found = {"at first": host_chains(), "before": reached(instance, _SILENCE_SECONDS)}
    firewall.ensure(instance)
    found |= {"after": reached(instance, _ANSWER_SECONDS), "ours": host_chains()}
    firewall.ensure(instance)
    found |= {"again": host_chains(), "in place": host_rules.are_in_place(instance)}
    firewall.remove(instance)
    found |= {"removed": host_chains()}
    sys.stdout.write(json.dumps(found))


def make_outside() -> None:
    """Cable a namespace to this one and let a server listen in it."""

    def act() -> int:
        assert _libc().unshare(_CLONE_NEWNET) == 0
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    outside = in_thread(act)
    with netlink.Netlink() as links:
        links.add_cable("up0", peer="up1", peer_netns=outside)
        links.ensure_address(socket.if_nametoindex("up0"), f"{_UPLINK}/24")
        links.raise_link(socket.if_nametoindex("up0"))

    def serve() -> None:
        assert _libc().setns(outside, _CLONE_NEWNET) == 0
        with netlink.Netlink() as links:
            links.ensure_address(socket.if_nametoindex("up1"), f"{_OUTSIDE}/24")
            links.raise_link(socket.if_nametoindex("up1"))
        listen(_OUTSIDE)

    in_thread(serve)


def listen(address: str) -> None:
    """Let the kernel take connections; nobody needs to answer them."""
    _servers.append(socket.create_server((address, _PORT)))


def reached(instance: instances.Instance, seconds: float) -> dict[str, bool]:
    """What the machine reaches within some seconds each."""
    path = network.netns_file(instance, "worker-1")

    def act() -> dict[str, bool]:
        with path.open() as namespace:
            assert _libc().setns(namespace.fileno(), _CLONE_NEWNET) == 0
        return {
            "outside": answers(_OUTSIDE, seconds),
            "host": answers(instance.bridge_address, seconds),
        }

    return in_thread(act)


def answers(address: str, seconds: float) -> bool:
    """Whether somebody takes a connection there."""
    try:
        socket.create_connection((address, _PORT), timeout=seconds).close()
    except OSError:
        return False
    return True


def host_chains() -> str:
    """The host's own table, without the counts of packets."""
    for family in ("ip", "inet"):
        command = ["nft", "--stateless", "list", "table", family, "filter"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
    raise AssertionError("the host's table is gone")


def load(rules: str) -> None:
    """Give rules to the kernel."""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def in_thread(action: Callable[[], T]) -> T:
    """Do *action* on a thread of its own: a namespace is a thread's."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(action()))
    thread.start()
    thread.join()
    return found[0]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
