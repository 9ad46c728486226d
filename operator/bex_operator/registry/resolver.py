"""Asks registries for the digest of a tag, by the OCI distribution protocol. Errors of the network
and of aiohttp stop here."""

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from bex_operator import addresses, outbound
from bex_operator.plan import tokens
from bex_operator.registry import errors, references

TIMEOUT_SECONDS = 5.0
CONNECT_SECONDS = 2.0
SILENT_SECONDS = 15.0
"""A registry that did not answer is not asked again for so long: workers must not queue for it."""
ABSENT_SECONDS = 5.0
"""An image that was not there is not asked for again for so long."""
TOKEN_SECONDS = 300
_TOKEN_LIMIT = 65536
_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_CHALLENGE = re.compile(r'([a-z]+)="([^"]*)"')


class Resolver:
    """Finds digests of tags. Use as `async with Resolver(endpoints)`.

    *endpoints* maps a registry's name to the addresses to ask for it instead, in order. Those
    among them that ask for tokens of the platform get one signed with what is in the file *key*.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Sequence[str]],
        key: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoints = endpoints
        self._key = key
        self._clock = clock
        self._mapped = {urlsplit(url).hostname for urls in endpoints.values() for url in urls}
        self._session: aiohttp.ClientSession | None = None
        self._failed: dict[str, tuple[float, errors.RegistryError]] = {}

    async def __aenter__(self) -> Self:
        self._session = outbound.session(
            lambda name, address: name in self._mapped or addresses.is_public(address),
            total_seconds=TIMEOUT_SECONDS,
            connect_seconds=CONNECT_SECONDS,
            headers={"User-Agent": "bex-operator"},
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

    async def resolve(self, image: str) -> str:
        """Return the digest (`sha256:…`) of *image*, a reference that the App model accepted.

        Raises: errors.NotFound, errors.Unavailable.
        """
        reference = references.parse(image)
        if reference.digest is not None:
            return reference.digest
        urls = self._endpoints.get(reference.host)
        if urls is None:
            url = references.endpoint_of(reference.host)
            if url is None:
                raise errors.Unavailable(f"{reference.host!r} is not a public registry")
            urls = (url,)
        trouble: errors.RegistryError | None = None
        for url in urls:
            try:
                return await self._ask(url, reference)
            except errors.Unavailable as exc:
                trouble = exc
            except errors.NotFound as exc:
                trouble = trouble or exc
        raise trouble or errors.Unavailable(f"no registry is known for {reference.host!r}")

    async def _ask(self, url: str, reference: references.Reference) -> str:
        manifest = f"{url}/v2/{reference.repository}/manifests/{reference.tag}"
        now = asyncio.get_running_loop().time()
        for memory in (url, manifest):
            until, error = self._failed.get(memory, (0.0, None))
            if error is not None and now < until:
                raise error
            self._failed.pop(memory, None)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._digest(manifest)
        except errors.NotFound as exc:
            self._failed[manifest] = (now + ABSENT_SECONDS, exc)
            raise
        except errors.Unavailable:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            host = urlsplit(url).netloc
            silent = errors.Unavailable(f"{host} does not answer ({type(exc).__name__})")
            self._failed[url] = (now + SILENT_SECONDS, silent)
            raise silent from exc

    async def _digest(self, manifest: str) -> str:
        status, headers = await self._head(manifest, None)
        if status == 401:
            token = await self._token(headers.get("WWW-Authenticate", ""), manifest)
            status, headers = await self._head(manifest, token)
        host = urlsplit(manifest).netloc
        if status == 404:
            raise errors.NotFound(f"{host} has no such image")
        if status != 200:
            raise errors.Unavailable(f"{host} answers {status}")
        digest = headers.get("Docker-Content-Digest", "")
        if not _DIGEST.fullmatch(digest):
            raise errors.Unavailable(f"{host} gives no digest")
        return digest

    async def _head(self, url: str, token: str | None) -> tuple[int, Mapping[str, str]]:
        headers = {"Accept": _ACCEPT}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self._opened().head(url, headers=headers, allow_redirects=False) as answer:
            return answer.status, answer.headers

    async def _token(self, challenge: str, manifest: str) -> str:
        """Get the token that anybody gets; a registry names its issuer, but not an inner one.

        The platform's own registry gets one of ours.
        """
        host = urlsplit(manifest).netloc
        given = dict(_CHALLENGE.findall(challenge))
        is_mapped = urlsplit(manifest).hostname in self._mapped
        if is_mapped and self._key is not None and given.get("service") == tokens.SERVICE:
            return self._signed(manifest, self._key)
        realm = given.get("realm", "")
        parts = urlsplit(realm)
        trusted = parts.hostname in self._mapped and is_mapped
        public = parts.scheme == "https" and references.is_public(parts.hostname or "")
        if not challenge.lower().startswith("bearer ") or not (trusted or public):
            raise errors.Unavailable(f"{host} wants credentials")
        params = {key: given[key] for key in ("service", "scope") if key in given}
        session = self._opened()
        async with session.get(realm, params=params, allow_redirects=False) as answer:
            if answer.status != 200:
                raise errors.Unavailable(f"{host} wants credentials")
            body = b""
            async for chunk in answer.content.iter_chunked(_TOKEN_LIMIT):
                body += chunk
                if len(body) > _TOKEN_LIMIT:
                    raise errors.Unavailable(f"{host} gives a token without an end")
        token = _token_in(body)
        if token is None:
            raise errors.Unavailable(f"{host} gives no token")
        return token

    def _signed(self, manifest: str, key: Path) -> str:
        repository = urlsplit(manifest).path.removeprefix("/v2/").rpartition("/manifests/")[0]
        expires = int(self._clock()) + TOKEN_SECONDS
        return tokens.sign(key.read_bytes(), [(repository, "pull")], expires)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the resolver is used outside of `async with`")
        return self._session


def _token_in(body: bytes) -> str | None:
    try:
        answer = orjson.loads(body)
    except ValueError:
        return None
    token = answer.get("token") or answer.get("access_token") if isinstance(answer, dict) else None
    return token if isinstance(token, str) and re.fullmatch(r"[!-~]+", token) else None
