"""Requests to one API server: token, time-outs, JSON; what may go wrong below becomes `errors`."""

import asyncio
import contextlib
import copy
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import orjson

from bex_operator.kube import connections, errors, kubeconfig

REQUEST_SECONDS = 30.0
SILENCE_SECONDS = 100.0
"""A stream that says nothing for so long is dead: bookmarks come about every 60 s."""
CONNECTIONS = 24
"""As many requests run at a time: each TLS connection takes memory on both sides. Streams have
connections of their own beside these."""
_JSON = "application/json"
_ASKING = frozenset({"GET", "HEAD"})
BUSY_RETRIES = 3
BUSY_WAIT_SECONDS = 10.0


class Transport:
    """The way to one API server as one user. Use in `async with`."""

    def __init__(self, access: kubeconfig.Access, *, user_agent: str) -> None:
        self._access = access
        self._user_agent = user_agent
        self._pool: connections.Pool | None = None
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self.fence: Callable[[], None] = lambda: None
        """Called before each request that changes something; raises where none may be sent."""

    def fenced(self, fence: Callable[[], None]) -> Self:
        """Return the same way to the server, on which *fence* is asked before every write."""
        made = copy.copy(self)
        made.fence = fence
        return made

    @property
    def server(self) -> str:
        """Base URL of the API server."""
        return self._access.server

    async def __aenter__(self) -> Self:
        access = self._access
        self._pool = connections.Pool(access.server, access.tls(), access.tls_server_name)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

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
        request = self._request(method, path, params, content, headers)
        with self._errors(request):
            async with self._turns:
                if method not in _ASKING:
                    self.fence()
                answer = await self._opened().exchange(request, REQUEST_SECONDS)
        _check(answer.status, answer.headers, answer.body)
        if answer.headers.get(b"content-type", b"").startswith(b"application/json"):
            return decode(answer.body)
        return answer.body.decode(errors="replace")

    async def lines(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> AsyncGenerator[bytes, None]:
        """Stream an answer line by line, without its line ends (watches, followed logs)."""
        request = self._request("GET", path, params)
        rest = b""
        with self._errors(request):
            stream = self._opened().stream(request, REQUEST_SECONDS, silence_seconds)
            async with stream as answer:
                if answer.status >= 400:
                    _check(answer.status, answer.headers, await answer.rest_of_it())
                async for piece in answer.pieces():
                    *whole, rest = (rest + piece).split(b"\n")
                    for line in whole:
                        if line:
                            yield line
                    # Nothing of it is held while the stream is silent, which may be for long.
                    del piece, whole
        if rest.strip():
            yield rest

    @contextlib.contextmanager
    def _errors(self, request: connections.Request) -> Iterator[None]:
        """Make errors of the network ours."""
        try:
            yield
        except TimeoutError as exc:
            raise errors.Unreachable(f"{self._where(request)}: no answer in time") from exc
        except (OSError, connections.Garbled, ValueError) as exc:
            # ValueError: a name that no request can be about.
            text = f"{self._where(request)}: {type(exc).__name__}: {exc}"
            raise errors.Unreachable(text) from exc

    def _where(self, request: connections.Request) -> str:
        path = request.target.partition("?")[0]
        return f"{request.method} {self._access.server}{path}"

    def _opened(self) -> connections.Pool:
        if self._pool is None:
            raise RuntimeError("the client is not open: use it in `async with`")
        return self._pool

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> connections.Request:
        given = {"User-Agent": self._user_agent, "Accept": _JSON}
        if body is not None:
            given["Content-Type"] = _JSON
        if headers:
            given |= headers
        token = self._access.bearer()
        if token:
            given["Authorization"] = f"Bearer {token}"
        if not all(value.isprintable() for value in given.values()):
            raise errors.BadKubeconfig("the token has control characters in it")
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        query = f"?{urlencode(params)}" if params else ""
        return connections.Request(method, f"{path}{query}", lines.encode(), body)


def _check(status: int, headers: Mapping[bytes, bytes], body: bytes) -> None:
    """Raise what the API server refuses."""
    if status >= 400:
        later = headers.get(b"retry-after")
        raise errors.from_status(status, _lenient(body), later.decode("latin-1") if later else None)


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
