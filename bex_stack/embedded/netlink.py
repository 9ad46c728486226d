"""Asks the kernel to change links, addresses and routes (rtnetlink, see rtnetlink(7)).

Only what machines need of it: a library that knows all of it takes a quarter of a second to
import, which is what a new machine would wait for first.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import socket
import struct
from types import TracebackType
from typing import Self

_NETLINK_ROUTE = 0
_ERROR = 2
_REQUEST, _ACK, _REPLACE, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_NEW_LINK, _DELETE_LINK, _NEW_ADDRESS, _NEW_ROUTE, _DELETE_ROUTE = 16, 17, 20, 24, 25
_LINK_NAME, _LINK_MASTER, _LINK_INFO, _LINK_NETNS = 3, 10, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_ADDRESS, _LOCAL_ADDRESS = 1, 2
_DESTINATION, _OUT_LINK, _GATEWAY = 1, 4, 5
_MAIN_TABLE, _BY_BOOT, _UNICAST = 254, 3, 1
_ANYWHERE, _NOWHERE = 0, 255
_UP = 0x1
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, sender
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, mask of flags
_ADDRESS_HEAD = struct.Struct("=BBBBI")  # family, prefix, flags, scope, index
_ROUTE_HEAD = struct.Struct("=BBBBBBBBI")  # family, to, from, tos, table, by, scope, type, flags
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_ANSWER_BYTES = 65536
_ANSWER_SECONDS = 60.0


class Netlink:
    """A connection in the network namespace of the thread that opens it.

    Every method waits for the kernel's answer. Raises: OSError with the kernel's code.
    """

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE)
        self._socket.settimeout(_ANSWER_SECONDS)
        self._socket.bind((0, 0))
        self._sequence = itertools.count(1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def add_bridge(self, name: str) -> None:
        """Make a bridge."""
        info = _attribute(_INFO_KIND, b"bridge")
        self._add_link(_text(_LINK_NAME, name) + _attribute(_LINK_INFO, info))

    def add_cable(self, name: str, *, peer: str, peer_netns: int | None = None) -> None:
        """Make a pair of links (veth): *name* here, *peer* in the namespace of a descriptor."""
        other = _LINK.pack(0, 0, 0, 0, 0) + _text(_LINK_NAME, peer)
        if peer_netns is not None:
            other += _number(_LINK_NETNS, peer_netns)
        info = _attribute(_INFO_KIND, b"veth")
        info += _attribute(_INFO_DATA, _attribute(_VETH_PEER, other))
        self._add_link(_text(_LINK_NAME, name) + _attribute(_LINK_INFO, info))

    def raise_link(self, index: int, *, master: int | None = None) -> None:
        """Set a link up, after it was plugged into the bridge *master*."""
        body = _LINK.pack(0, 0, index, _UP, _UP)
        if master is not None:
            body += _number(_LINK_MASTER, master)
        self._ask(_NEW_LINK, 0, body)

    def delete_link(self, index: int) -> None:
        """Delete a link; of a pair both go."""
        self._ask(_DELETE_LINK, 0, _LINK.pack(0, 0, index, 0, 0))

    def ensure_address(self, index: int, address: str) -> None:
        """Let a link have *address*, such as 10.90.0.1/24."""
        own = ipaddress.IPv4Interface(address)
        head = _ADDRESS_HEAD.pack(socket.AF_INET, own.network.prefixlen, 0, _ANYWHERE, index)
        packed = own.ip.packed
        attributes = _attribute(_LOCAL_ADDRESS, packed) + _attribute(_ADDRESS, packed)
        self._ask(_NEW_ADDRESS, _CREATE | _REPLACE, head + attributes)

    def ensure_route(self, destination: str, *, gateway: str, index: int | None = None) -> None:
        """Let packets to *destination* go to *gateway* on the link *index*, and nowhere else."""
        body = _route_head(destination, scope=_ANYWHERE, kind=_UNICAST)
        body += _attribute(_GATEWAY, ipaddress.IPv4Address(gateway).packed)
        if index is not None:
            body += _number(_OUT_LINK, index)
        self._ask(_NEW_ROUTE, _CREATE | _REPLACE, body)

    def delete_route(self, destination: str) -> None:
        """Delete the route to *destination*, whichever way it goes."""
        self._ask(_DELETE_ROUTE, 0, _route_head(destination, scope=_NOWHERE, kind=0))

    def _add_link(self, attributes: bytes) -> None:
        self._ask(_NEW_LINK, _CREATE | _EXCLUSIVE, _LINK.pack(0, 0, 0, 0, 0) + attributes)

    def _ask(self, kind: int, flags: int, body: bytes) -> None:
        sequence = next(self._sequence)
        length = _HEADER.size + len(body)
        head = _HEADER.pack(length, kind, flags | _REQUEST | _ACK, sequence, 0)
        self._socket.send(head + body)
        while True:
            answer = self._socket.recv(_ANSWER_BYTES)
            _, answered, _, number, _ = _HEADER.unpack_from(answer)
            if answered == _ERROR and number == sequence:
                break
        (code,) = struct.unpack_from("=i", answer, _HEADER.size)
        if code:  # negative; 0 is the acknowledgement
            raise OSError(-code, os.strerror(-code))


def _route_head(destination: str, *, scope: int, kind: int) -> bytes:
    network = ipaddress.IPv4Network(destination)
    head = _ROUTE_HEAD.pack(
        socket.AF_INET, network.prefixlen, 0, 0, _MAIN_TABLE, _BY_BOOT, scope, kind, 0
    )
    return head + _attribute(_DESTINATION, network.network_address.packed)


def _attribute(kind: int, value: bytes) -> bytes:
    padding = bytes(-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))
