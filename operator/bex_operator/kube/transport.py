"""HTTP to one API server: session, TLS, token, timeouts; aiohttp's errors end here."""

import asyncio
import contextlib
import io
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
import orjson
import yarl

from bex_operator.kube import errors, kubeconfig

REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 100.0
"""A stream that says nothing for so long is dead: bookmarks come about every 60 s."""
CONNECTIONS = 24
"""As many requests run at a time: each TLS connection takes memory on both sides. Streams have
connections of their own beside these."""
_CLOSING_TURNS = 5
_TIMEOUT = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
_JSON = {"Content-Type": "application/json"}
LARGE_BODY = 2**20
"""Bytes above which a body is sent in pieces: at once it would stop all else in the process."""
BUSY_RETRIES = 3
BUSY_WAIT_SECONDS = 10.0


class Transport:
    """One session with one API server as one user. Use in `async with`."""

    def __init__(self, access: kubeconfig.Access, *, user_agent: str) -> None:
        self._access = access
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None
        self._turns = asyncio.Semaphore(CONNECTIONS)

    @property
    def server(self) -> str:
        """Base URL of the API server."""
        return self._access.server

    async def __aenter__(self) -> Self:
        self._tls = self._access.tls()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            headers={
                "User-Agent": self._user_agent,
                "Accept": "application/json",
                # Squeezing costs both sides more than the way is long.
                "Accept-Encoding": "identity",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
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
            for _ in range(_CLOSING_TURNS):
                # Aborted TLS connections let go of their sockets in the loop's next turns.
                await asyncio.sleep(0)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request; the answer as JSON, or as text if it is not JSON.

        A server too busy to take the request (429 with Retry-After) is asked again a few times.
        """
        for _ in range(BUSY_RETRIES):
            try:
                return await self.request_once(
                    method, path, params=params, body=body, headers=headers
                )
            except errors.TooManyRequests as busy:
                await asyncio.sleep(min(busy.retry_after_seconds, BUSY_WAIT_SECONDS))
        return await self.request_once(method, path, params=params, body=body, headers=headers)

    async def request_once(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request and take the first answer."""
        content = None if body is None else orjson.dumps(body)
        async with (
            self._turns,
            self._answer(
                method, path, timeout=_TIMEOUT, params=params, body=content, headers=headers
            ) as answer,
        ):
            return _content(answer, await answer.read())

    async def lines(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> AsyncGenerator[bytes, None]:
        """Stream an answer line by line, without its line ends (watches, followed logs)."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_seconds
        )
        rest = b""
        async with self._answer("GET", path, timeout=timeout, params=params) as answer:
            try:
                async for chunk in answer.content.iter_any():
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        if line:
                            yield line
            finally:
                _abort(answer)
        if rest.strip():
            yield rest

    @contextlib.asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open an answer of status 2xx or 3xx; every error inside becomes one of ours."""
        if self._session is None:
            raise RuntimeError("the client is not open: use it in `async with`")
        where = f"{method} {self._access.server}{path}"
        try:
            async with self._session.request(
                method,
                self._url(path, params),
                data=_in_pieces(body),
                headers=self._headers(body, headers),
                timeout=timeout,
                ssl=self._tls if self._tls is not None else True,
                server_hostname=self._access.tls_server_name,
                allow_redirects=False,
            ) as answer:
                if answer.status >= 400:
                    raise errors.from_status(
                        answer.status,
                        _lenient(await answer.read()),
                        answer.headers.get("Retry-After"),
                    )
                yield answer
        except TimeoutError as exc:
            raise errors.Unreachable(f"{where}: no answer in time") from exc
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as exc:
            # ValueError: what aiohttp's parsers raise for some garbled answers.
            raise errors.Unreachable(f"{where}: {type(exc).__name__}: {exc}") from exc

    def _url(self, path: str, params: Mapping[str, str] | None) -> yarl.URL:
        """Write an address out; aiohttp would take it apart and put it together again."""
        query = f"?{urlencode(params)}" if params else ""
        return yarl.URL(f"{self._access.server}{path}{query}", encoded=True)

    def _headers(self, body: bytes | None, more: Mapping[str, str] | None) -> dict[str, str]:
        headers = {} if body is None else dict(_JSON)
        headers.update(more or {})
        token = self._access.bearer()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers


def _abort(answer: aiohttp.ClientResponse) -> None:
    """Drop a stream that was left in the middle; a TLS farewell would linger for seconds."""
    if answer.connection is not None and answer.connection.transport is not None:
        answer.connection.transport.abort()


def _content(answer: aiohttp.ClientResponse, raw: bytes) -> Any:
    if answer.content_type == "application/json":
        return decode(raw)
    return raw.decode(errors="replace")


def decode(raw: bytes) -> Any:
    """Parse JSON; what is garbled counts as no answer."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise errors.Unreachable(f"the API server sent no valid JSON ({exc.msg})") from exc


def _lenient(raw: bytes) -> object:
    """Decode an error's body, which a proxy in between may have written as text."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")


def _in_pieces(body: bytes | None) -> bytes | io.BytesIO | None:
    return io.BytesIO(body) if body is not None and len(body) > LARGE_BODY else body
