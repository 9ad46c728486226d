"""Asks git servers where branches and tags point, as `git ls-remote` does: smart http, version 2.

Only https is spoken. Redirects are not followed and inner addresses are not dialled, unless the
platform says so; errors of the network and of aiohttp stop here.

Source: git's gitprotocol-http and gitprotocol-v2.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from bex_operator import addresses, outbound
from bex_operator.git import errors

TIMEOUT_SECONDS = 20.0
CONNECT_SECONDS = 5.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024
_FLUSH = b"0000"
_USER = "x-access-token"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Remotes:
    """Finds out where refs point. Use as `async with Remotes(…)`."""

    def __init__(self, *, inner: Sequence[str] = (), authority: str = "") -> None:
        self._inner = [ipaddress.ip_network(each) for each in inner]
        self._authority = authority
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        tls = ssl.create_default_context()
        if self._authority:
            tls.load_verify_locations(cadata=self._authority)
        self._session = outbound.session(
            lambda _name, address: _is_allowed(address, self._inner),
            total_seconds=TIMEOUT_SECONDS,
            connect_seconds=CONNECT_SECONDS,
            headers={"User-Agent": "git/bex-operator", "Git-Protocol": "version=2"},
            tls=tls,
            keeps_connections=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def refs(self, repo: str, wanted: Collection[str], token: str = "") -> dict[str, str]:
        """Return the commits of those of *wanted* (branches, else tags) that *repo* has.

        Raises: errors.Refused, errors.Unavailable.
        """
        parts = urlsplit(repo)
        if parts.scheme != "https" or parts.username or parts.password or not parts.hostname:
            raise errors.Refused("only https URLs without credentials can be built from yet")
        check_address(parts.hostname, self._inner)
        auth = aiohttp.BasicAuth(_USER, token) if token else None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                found = await self._ask(repo.rstrip("/"), wanted, auth)
        except errors.GitError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            why = f"{parts.hostname} does not answer ({type(exc).__name__}: {exc})"
            raise errors.Unavailable(why[:300]) from exc
        return {name: commit for name in wanted if (commit := _points_to(found, name))}

    async def _ask(
        self, repo: str, wanted: Collection[str], auth: aiohttp.BasicAuth | None
    ) -> dict[str, str]:
        assert self._session is not None  # noqa: S101 - `async with` made it
        about = f"{repo}/info/refs?service=git-upload-pack"
        async with self._session.get(about, auth=auth, allow_redirects=False) as answer:
            lines = _lines(await _body(answer))
        if b"version 2\n" not in lines:
            return _advertised(lines)
        body = _command(wanted)
        headers = {
            "Content-Type": "application/x-git-upload-pack-request",
            "Accept": "application/x-git-upload-pack-result",
        }
        async with self._session.post(
            f"{repo}/git-upload-pack", data=body, headers=headers, auth=auth, allow_redirects=False
        ) as answer:
            return _listed(_lines(await _body(answer)))


def check_address(host: str, inner: Sequence[Network]) -> None:
    """Refuse a literal address that is not public.

    Raises: errors.Refused.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    if not _is_allowed(address, inner):
        raise errors.Refused(f"{host} is an inner address, which repositories may not name")


def _is_allowed(address: addresses.Address, inner: Sequence[Network]) -> bool:
    return addresses.is_public(address) or any(address in network for network in inner)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    host = answer.url.host
    if answer.status in {401, 403}:
        raise errors.Refused(f"{host} wants other credentials; set spec.cloneSecret")
    if answer.status == 404:
        raise errors.Refused(f"{host} has no such repository, or wants credentials for it")
    if 300 <= answer.status < 400:
        raise errors.Refused(f"{host} redirects; name the repository where it is")
    if answer.status != 200:
        raise errors.Unavailable(f"{host} answers {answer.status}")
    body = bytearray()
    async for chunk in answer.content.iter_chunked(65536):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise errors.Refused(f"{host} has more refs than can be read")
    return bytes(body)


def _lines(body: bytes) -> list[bytes]:
    """Split into packets; ends of sections are left out."""
    found, at = [], 0
    while at + 4 <= len(body):
        size = int(body[at : at + 4], 16)
        if size >= 4:
            found.append(body[at + 4 : at + size])
        at += max(size, 4)
    return found


def _packet(line: str) -> bytes:
    content = line.encode()
    return f"{len(content) + 4:04x}".encode() + content


def _command(wanted: Collection[str]) -> bytes:
    prefixes = [
        f"ref-prefix {folder}{name}\n"
        for name in wanted
        for folder in ("refs/heads/", "refs/tags/")
    ]
    arguments = b"".join(_packet(each) for each in ("peel\n", *prefixes))
    return _packet("command=ls-refs\n") + b"0001" + arguments + _FLUSH


def _listed(lines: list[bytes]) -> dict[str, str]:
    """Read the answer to ls-refs; an annotated tag counts as the commit it leads to."""
    found = {}
    for line in lines:
        commit, name, *attributes = line.decode(errors="replace").rstrip("\n").split(" ")
        peeled = [each[7:] for each in attributes if each.startswith("peeled:")]
        found[name] = peeled[0] if peeled else commit
    return found


def _advertised(lines: list[bytes]) -> dict[str, str]:
    """Read what servers answer that know no version 2: every ref there is."""
    found = {}
    for line in lines:
        text = line.partition(b"\0")[0].decode(errors="replace").rstrip("\n")
        commit, _, name = text.partition(" ")
        if name.endswith("^{}"):
            found[name[:-3]] = commit
        elif name and not text.startswith("#"):
            found.setdefault(name, commit)
    return found


def _points_to(found: dict[str, str], name: str) -> str | None:
    commit = found.get(f"refs/heads/{name}") or found.get(f"refs/tags/{name}")
    is_commit = commit is not None and len(commit) == 40 and set(commit) <= set("0123456789abcdef")
    return commit if is_commit else None
