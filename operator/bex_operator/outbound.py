"""Reaches out where whoever wrote an App says: sessions that dial public addresses only.

An App names registries and repositories; it must not make the operator knock on inner doors.
"""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping

import aiohttp
from aiohttp import abc, resolver

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_CARRIERS = tuple(
    ipaddress.ip_network(each)
    for each in ("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
)
"""IPv6 that gateways turn into IPv4, inner ones included. Source: RFC 6052, 8215, 4380, 3056."""


def is_public(address: Address) -> bool:
    """Tell whether *address* is one host of the public internet."""
    is_carried = any(address in network for network in _CARRIERS)
    return address.is_global and not address.is_multicast and not is_carried


def session(
    may_dial: Callable[[str, Address], bool],
    *,
    total_seconds: float,
    connect_seconds: float,
    headers: Mapping[str, str],
    tls: ssl.SSLContext | None = None,
    keeps_connections: bool = True,
) -> aiohttp.ClientSession:
    """Open a session without cookies that dials a name's addresses only if *may_dial* them.

    Literal addresses are not looked up: check those before asking.
    """
    connector = aiohttp.TCPConnector(
        resolver=_Names(may_dial),
        limit=32,
        ssl=tls or True,
        force_close=not keeps_connections,
    )
    timeout = aiohttp.ClientTimeout(total=total_seconds, sock_connect=connect_seconds)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


class _Names(abc.AbstractResolver):
    """Looks names up, and forgets what may not be dialled: what is dialled was looked at."""

    def __init__(self, may_dial: Callable[[str, Address], bool]) -> None:
        self._may_dial = may_dial
        self._names = resolver.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[abc.ResolveResult]:
        found = await self._names.resolve(host, port, family)
        allowed = [
            each for each in found if self._may_dial(host, ipaddress.ip_address(each["host"]))
        ]
        if not allowed:
            raise OSError(f"{host} has no public address")
        return allowed

    async def close(self) -> None:
        await self._names.close()
