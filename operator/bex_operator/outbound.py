"""Reaches out where whoever wrote an App says: sessions that dial public addresses only.

An App names registries and repositories; it must not make the operator knock on inner doors.
"""

import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping

import aiohttp
from aiohttp import abc, resolver

from bex_operator import addresses


def session(
    may_dial: Callable[[str, addresses.Address], bool],
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

    def __init__(self, may_dial: Callable[[str, addresses.Address], bool]) -> None:
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
            raise OSError(errno.EHOSTUNREACH, f"{host} has no public address")
        return allowed

    async def close(self) -> None:
        await self._names.close()
