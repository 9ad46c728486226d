"""HTTP/1.1 to one server: connections that carry one request at a time and rest for the next.

It knows bytes, not objects. What goes wrong is an OSError, a TimeoutError or `Garbled`.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 60.0
"""A connection that rested for longer is not used again: servers drop those."""
BUFFER_BYTES = 2**16
"""So much of a stream waits for its reader at most."""
PIECE_BYTES = 2**16
"""Longer bodies are sent in pieces: to encrypt one at once would stop all else in the process."""
_TWICE = frozenset({"GET", "PUT", "DELETE"})
"""Sent once more if a connection that rested was dead: what the first try did is no matter."""
_CLOSING_TURNS = 5


class Garbled(Exception):
    """What came is not HTTP."""


class Broken(OSError):
    """The connection ended before the answer did."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `headers` are whole lines, each with its line end."""

    method: str
    target: str
    headers: bytes
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; names of headers are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Pool:
    """The connections to one server."""

    def __init__(
        self, server: str, tls: ssl.SSLContext | None, tls_server_name: str | None = None
    ) -> None:
        parts = urlsplit(server)
        self._host = parts.hostname or ""
        self._port = parts.port or (80 if tls is None else 443)
        self._named = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.rstrip("/")
        self._tls = tls
        self._tls_server_name = (tls_server_name or self._host) if tls is not None else None
        self._open: set[_Connection] = set()
        self._resting: list[_Connection] = []

    async def exchange(self, request: Request, seconds: float) -> Answer:
        """Send a request and take the answer, which has so long to come."""
        head = self._head(request)
        connection = self._rested()
        if connection is not None:
            try:
                return await self._exchange(connection, head, request.body, seconds)
            except Broken:
                if connection.status or request.method not in _TWICE:
                    raise
        return await self._exchange(await self._connect(), head, request.body, seconds)

    @contextlib.asynccontextmanager
    async def stream(
        self, request: Request, seconds: float, silence_seconds: float
    ) -> AsyncIterator["_Connection"]:
        """Send a request; the answer begins within *seconds* and is then read piece by piece."""
        connection = await self._connect()
        try:
            connection.begin(seconds, streams=True)
            await connection.send(self._head(request), request.body)
            while not connection.status:
                await connection.news()
            connection.be_patient(silence_seconds)
            yield connection
        finally:
            self._give_back(connection)

    async def close(self) -> None:
        """Drop all connections at once; TLS farewells would linger for seconds."""
        for connection in tuple(self._open):
            connection.abort()
        for _ in range(_CLOSING_TURNS):
            # They let go of their sockets in the loop's next turns.
            await asyncio.sleep(0)

    def forget(self, connection: "_Connection") -> None:
        """Take note that a connection ended."""
        self._open.discard(connection)
        if connection in self._resting:
            self._resting.remove(connection)

    async def _exchange(
        self, connection: "_Connection", head: bytes, body: bytes | None, seconds: float
    ) -> Answer:
        try:
            connection.begin(seconds)
            await connection.send(head, body)
            while not connection.complete:
                await connection.news()
            return Answer(connection.status, connection.headers, connection.take())
        finally:
            self._give_back(connection)

    def _head(self, request: Request) -> bytes:
        """Write a request out, up to its body.

        Raises:
            ValueError: its address would make another request of it.
        """
        target = f"{self._prefix}{request.target}"
        if not (target.isascii() and target.isprintable()) or " " in target:
            raise ValueError("an address with spaces or control characters")
        first = f"{request.method} {target} HTTP/1.1\r\nHost: {self._named}\r\n".encode()
        length = b"" if request.body is None else b"Content-Length: %d\r\n" % len(request.body)
        return b"".join((first, request.headers, length, b"\r\n"))

    def _rested(self) -> "_Connection | None":
        while self._resting:
            connection = self._resting.pop()
            if not connection.is_stale:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            _, made = await loop.create_connection(
                lambda: _Connection(self, loop),
                self._host,
                self._port,
                ssl=self._tls,
                server_hostname=self._tls_server_name,
            )
        self._open.add(made)
        return made

    def _give_back(self, connection: "_Connection") -> None:
        if connection.rest():
            self._resting.append(connection)
        else:
            connection.abort()


class _Connection(asyncio.Protocol):
    """One connection, and the answer that comes on it."""

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._since = 0.0
        """When something was heard last, or when it began to rest."""
        self._patience: float | None = None
        self._streams = False
        self._clogged = False
        """What is to be sent piles up."""
        self._keeps = True
        """The next request may go over it too."""
        self._parts: list[bytes] = []
        self._size = 0
        self.headers: dict[bytes, bytes] = {}
        self.status = 0
        """0 until the answer's head is there."""
        self.complete = True
        """No answer is under way."""

    @property
    def is_stale(self) -> bool:
        """Tell whether it rested for too long."""
        return self._loop.time() - self._since > IDLE_SECONDS

    def begin(self, seconds: float, *, streams: bool = False) -> None:
        """Get ready for an answer that has so long to come."""
        self._clear()
        self.complete, self._streams = False, streams
        self._timer = self._loop.call_later(seconds, self._expire)

    async def send(self, head: bytes, body: bytes | None) -> None:
        """Send a request."""
        if body is None or len(body) <= PIECE_BYTES:
            self._transport.write(head if body is None else head + body)
            return
        self._transport.write(head)
        for start in range(0, len(body), PIECE_BYTES):
            self._transport.write(body[start : start + PIECE_BYTES])
            await asyncio.sleep(0)
            while self._clogged and not self.complete:
                await self.news()

    async def news(self) -> None:
        """Wait until there is more of the answer, or it cannot come any more."""
        if self._error is None:
            self._waiting = self._loop.create_future()
            await self._waiting
        if self._error is not None and not self.complete:
            raise self._error

    def be_patient(self, seconds: float) -> None:
        """Let the answer take its time, if only it is never silent for so long."""
        self._patience, self._since = seconds, self._loop.time()
        self._arm(seconds)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Read the answer's body as it comes."""
        while True:
            if self._parts:
                yield self.take()
            elif self.complete:
                return
            else:
                await self.news()

    async def rest_of_it(self) -> bytes:
        """Read all that is left of the body."""
        return b"".join([piece async for piece in self.pieces()])

    def take(self) -> bytes:
        """Take what came so far."""
        if self._size > BUFFER_BYTES and self._streams:
            self._transport.resume_reading()
        taken = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self._size = [], 0
        return taken

    def rest(self) -> bool:
        """End the exchange; tell whether another may follow."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._patience, self._since = None, self._loop.time()
        return self.complete and self._keeps and not self._clogged and self._error is None

    def abort(self) -> None:
        """Drop it."""
        self._transport.abort()

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.complete:
            self._fail(Garbled("an answer that nobody asked for"))
            return
        self._since = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(Garbled(f"no HTTP: {exc}"))

    def pause_writing(self) -> None:
        self._clogged = True

    def resume_writing(self) -> None:
        self._clogged = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        sized = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        if self.status and exc is None and self._error is None and not sized:
            self.complete = True
        self._error = self._error or Broken(exc or "the connection ended before the answer")
        self._wake()
        self._pool.forget(self)

    # What the parser tells.

    def on_message_begin(self) -> None:
        self._keeps = not self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self.status = status if status >= 200 else 0
        if self._streams:
            self._wake()

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        self._size += len(body)
        if self._streams:
            if self._size > BUFFER_BYTES:
                self._transport.pause_reading()
            self._wake()

    def on_message_complete(self) -> None:
        if not self.status:
            self._clear()  # "continue", and the like: the answer is yet to come
            return
        self.complete, self._keeps = True, self._keeps and self._parser.should_keep_alive()
        self._wake()

    def _clear(self) -> None:
        self.headers, self.status = {}, 0
        self._parts, self._size = [], 0

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._transport.abort()
        self._wake()

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self._patience is not None:
            # A reader that is busy is no fault of the server.
            heard = self._loop.time() if self._parts else self._since
            left = heard + self._patience - self._loop.time()
            if left > 0.001:
                self._arm(left)
                return
        self._fail(TimeoutError())
