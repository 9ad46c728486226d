"""The kernel's links, addresses and routes as they are after they were asked for."""

import ctypes
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bex_stack.embedded import netlink

_CLONE_NEWNET = 0x40000000


def in_new_namespace(action: Callable[[netlink.Netlink], None]) -> None:
    """Do *action* in a network namespace that goes with the thread it is done in."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            assert ctypes.CDLL(None).unshare(_CLONE_NEWNET) == 0
            with netlink.Netlink() as routes:
                action(routes)
        except BaseException as exc:  # noqa: BLE001 - raised again by the test's own thread
            failed.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=60)
    if failed:
        raise failed[0]


def routes_here() -> list[list[str]]:
    """Routes of the calling thread's namespace: link, destination, gateway, … (hexadecimal)."""
    lines = Path("/proc/thread-self/net/route").read_text().splitlines()[1:]
    return [line.split() for line in lines]


def test_asking_twice_changes_nothing() -> None:
    """Addresses and routes are there once, however often they are asked for."""

    def act(routes: netlink.Netlink) -> None:
        routes.add_bridge("b0")
        index = socket.if_nametoindex("b0")
        for _ in range(2):
            routes.ensure_address(index, "10.9.0.1/24")
            routes.raise_link(index)
            routes.ensure_route("10.8.0.0/16", gateway="10.9.0.7", index=index)

        found = [(link, to, gateway) for link, to, gateway, *_ in routes_here()]
        assert sorted(found) == [
            ("b0", "0000080A", "0700090A"),
            ("b0", "0000090A", "00000000"),
        ]

    in_new_namespace(act)


def test_a_route_can_change_its_way() -> None:
    """A machine that comes back with another address takes its pods' route along."""

    def act(routes: netlink.Netlink) -> None:
        routes.add_bridge("b0")
        index = socket.if_nametoindex("b0")
        routes.ensure_address(index, "10.9.0.1/24")
        routes.raise_link(index)
        routes.ensure_route("10.8.0.0/16", gateway="10.9.0.7")
        routes.ensure_route("10.8.0.0/16", gateway="10.9.0.8")
        assert [row[2] for row in routes_here() if row[1] == "0000080A"] == ["0800090A"]

        routes.delete_route("10.8.0.0/16")
        assert [row for row in routes_here() if row[1] == "0000080A"] == []

    in_new_namespace(act)


def test_a_cable_joins_a_bridge_and_goes_as_a_whole() -> None:
    """Deleting one end of a pair takes the other end away."""

    def act(routes: netlink.Netlink) -> None:
        routes.add_bridge("b0")
        routes.add_cable("c0", peer="c1")
        bridge, cable = socket.if_nametoindex("b0"), socket.if_nametoindex("c0")
        routes.raise_link(cable, master=bridge)
        routes.delete_link(cable)

        assert {name for _, name in socket.if_nameindex()} == {"lo", "b0"}

    in_new_namespace(act)


def test_a_refusal_carries_the_kernels_code() -> None:
    """Callers tell what is missing from what is forbidden."""

    def act(routes: netlink.Netlink) -> None:
        with pytest.raises(ProcessLookupError):  # ESRCH
            routes.delete_route("10.8.0.0/16")
        routes.add_bridge("b0")
        with pytest.raises(FileExistsError):
            routes.add_bridge("b0")

    in_new_namespace(act)
