"""Stands between a client and a real API server and breaks what a test asks for."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from bex_operator.kube import kubeconfig


@dataclass(frozen=True)
class Fault:
    """What happens instead of an answer."""

    status: int = 0
    """Answer with this status and *body*; 0 to break the connection instead."""
    body: str = "{}"
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False
    """Only after the server has done what was asked."""
    until: asyncio.Event | None = None
    """The request is on its way so long, whether or not its sender still lives."""


_ENDS_BEGINNING = b"k8s.io/initial-events-end"
Answer = aiohttp.ClientResponse
Choose = Callable[[web.Request], Fault | None]
WRITES = frozenset({"POST", "PATCH", "PUT", "DELETE"})


@dataclass
class Crash:
    """Chooses to let some writes through, then to break everything: the process is dead."""

    left: int
    """How many writes happen and are heard of. The one after them happens, and nobody hears."""

    def __call__(self, request: web.Request) -> Fault | None:
        """Count a write; break what comes after the last."""
        if self.left < 0:
            return Fault(0)
        if request.method not in WRITES or request.path.endswith("/events"):
            return None
        self.left -= 1
        return Fault(0, after=True) if self.left < 0 else None


@dataclass
class FaultProxy:
    """A plain HTTP server before the API server. `choose` decides for each request."""

    access: kubeconfig.Access
    choose: Choose = lambda _: None
    edit: Callable[[bytes], bytes | None] = lambda line: line
    """Changes a line of a watch; None drops it."""
    edits_beginnings: bool = True
    """Also lines that tell what there is when a watch begins: without one that is lost there, and
    with the end of the beginning, an object would be told to be gone. No network does that."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    watches: set[web.StreamResponse] = field(default_factory=set)
    frozen: asyncio.Event = field(default_factory=asyncio.Event)
    """While set, watches say nothing. Those that missed a line then never speak again."""
    watch_seconds: float | None = None
    """After so long a watch that has told what there is ends by itself; None: as its asker says."""
    answered: int = 0
    """How many writes have reached the server and come to an end."""
    held: list[int] = field(default_factory=list)
    """What the server said to the requests that were long on their way."""
    session: aiohttp.ClientSession | None = None
    """The way to the server, for as long as the proxy runs."""
    _trusted: dict[str, ssl.SSLContext | bool] = field(default_factory=dict)
    """Whom to trust at each server: reading certificates takes long."""
    _transports: set[asyncio.Transport] = field(default_factory=set)

    def reset_watches(self) -> None:
        """Cut every open watch in the middle."""
        for transport in self._transports:
            transport.abort()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, or do what the test asked for."""
        self.requests.append((request.method, request.path_qs))
        fault = self.choose(request)
        if fault is not None and not fault.after and fault.until is None:
            return self._break(request, fault)
        body = await request.read()
        if fault is not None and fault.until is not None:
            await fault.until.wait()
        async with self._ask(request, body) as answer:
            if request.query.get("watch") == "true" and answer.status == 200:
                return await self._stream(request, answer)
            told = await answer.read()
            if request.method in WRITES:
                self.answered += 1
            if fault is not None and fault.until is not None:
                self.held.append(answer.status)
            elif fault is not None:
                return self._break(request, fault)
            return web.Response(status=answer.status, body=told, content_type=answer.content_type)

    def _ask(self, request: web.Request, body: bytes) -> AbstractAsyncContextManager[Answer]:
        """Ask the server the same."""
        assert self.session is not None
        passed = {"Content-Type", "Accept", "User-Agent"}
        if self.access.server not in self._trusted:
            self._trusted[self.access.server] = self.access.tls() or True
        return self.session.request(
            request.method,
            self.access.server + request.path,
            params=request.query,
            data=body,
            headers={key: value for key, value in request.headers.items() if key in passed},
            ssl=self._trusted[self.access.server],
        )

    def _break(self, request: web.Request, fault: Fault) -> web.Response:
        if fault.status == 0:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return web.Response(
            status=fault.status,
            text=fault.body,
            content_type="application/json",
            headers=fault.headers,
        )

    async def _lines(
        self, request: web.Request, answer: aiohttp.ClientResponse
    ) -> AsyncIterator[bytes]:
        """What the server tells, until the watch is to end; never in the midst of a beginning."""
        beginning, until = "sendInitialEvents" in request.query, None
        while True:
            if self.watch_seconds is not None and not beginning and until is None:
                until = asyncio.get_running_loop().time() + self.watch_seconds
            try:
                async with asyncio.timeout_at(until):
                    line = await answer.content.readline()
            except TimeoutError:
                return
            if not line:
                return
            beginning = beginning and _ENDS_BEGINNING not in line
            yield line

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        transport = request.transport
        if transport is None:
            return stream
        self._transports.add(transport)
        begins, silent = "sendInitialEvents" in request.query and not self.edits_beginnings, False
        try:
            await stream.prepare(request)
            async for line in self._lines(request, answer):
                edited = line if begins else self.edit(line)
                begins = begins and _ENDS_BEGINNING not in line
                silent = silent or self.frozen.is_set()
                if edited is not None and not silent:
                    await stream.write(edited)
            while silent and not transport.is_closing():  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)
        except (ConnectionError, aiohttp.ClientError):
            pass
        finally:
            self._transports.discard(transport)
            # One that has ended by itself may be asked for something else.
            if answer.connection is not None and answer.connection.transport is not None:
                answer.connection.transport.abort()
        return stream


@contextlib.asynccontextmanager
async def fault_proxy(path: Path) -> AsyncIterator[tuple[FaultProxy, kubeconfig.Access]]:
    """Run a proxy before the kubeconfig's server; the second value leads to it."""
    proxy = FaultProxy(kubeconfig.load(path))
    application = web.Application(client_max_size=8 * 2**20)
    application.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    connector = aiohttp.TCPConnector(limit=0)
    # A line of a watch may hold an object of 1.5 MB.
    async with aiohttp.ClientSession(read_bufsize=2**22, connector=connector) as proxy.session:
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            yield proxy, kubeconfig.Access(server=f"http://127.0.0.1:{port}")
        finally:
            proxy.reset_watches()
            await runner.cleanup()
