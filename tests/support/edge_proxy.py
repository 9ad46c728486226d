"""A real Caddy, started as the supervisor starts it, and pods that are plain servers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bex_operator.caddy import client as caddy
from bex_operator.caddy import errors as caddy_errors
from bex_operator.plan import edge, edge_config
from tests.support import evidence
from tests.support.places import free_ports
from tests.support.waiting import until

STOP_TIMEOUT_SECONDS = 60.0


@dataclass(slots=True)
class Proxy:
    """One Caddy with files and ports of its own."""

    settings: edge_config.Settings
    binary: Path
    directory: Path
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where http is served; hosts are told by header."""
        return f"http://127.0.0.1:{self.settings.http_port}"

    @property
    def log(self) -> str:
        """All that Caddy wrote so far."""
        return (self.directory / "caddy.log").read_text()

    @property
    def arguments(self) -> list[str]:
        """What launcher and feeder both get."""
        return [
            f"--admin-socket={self.settings.admin_socket}",
            f"--storage={self.settings.storage}",
            f"--http-port={self.settings.http_port}",
            f"--https-port={self.settings.https_port}",
        ]

    def keep(self, table: str) -> None:
        """Write the table it starts from."""
        Path(self.settings.storage).mkdir(mode=0o700, exist_ok=True)
        Path(self.settings.table_file).write_text(table)

    async def members(self) -> set[str]:
        """Addresses of all pods in the table that the feeder kept after Caddy took it."""
        try:
            text = await asyncio.to_thread(Path(self.settings.table_file).read_text)
        except FileNotFoundError:
            return set()
        return {address for pool in json.loads(text)["pools"].values() for address in pool}

    def secrets(self) -> list[Path]:
        """List the files nobody else may read."""
        keys = Path(self.settings.storage).rglob("*.key")
        return [Path(self.settings.admin_socket), Path(self.settings.config_file), *keys]

    async def has_authority(self) -> bool:
        """Tell whether Caddy has made its authority."""
        return await asyncio.to_thread(Path(self.settings.authority_file).exists)

    def client(self) -> caddy.Client:
        """Make a client of its admin socket."""
        return caddy.Client(self.settings.admin_socket)

    async def start(self) -> None:
        """Start it and wait until it answers."""
        command = ["caddy", f"--caddy={self.binary}", *self.arguments]
        self._process = start_entry(command, self.directory / "caddy.log")
        await until(self.answers, "Caddy runs its configuration")

    async def answers(self) -> bool:
        """Tell whether it runs its configuration."""
        try:
            async with self.client() as client:
                is_running = bool((await client.state()).config)
            await self.get("localhost")
        except (caddy_errors.CaddyError, aiohttp.ClientError):
            return False
        return is_running

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Signal it and wait for its end."""
        if self._process is not None:
            stop_entry(self._process, number)
            self._process = None

    async def serve(self, *hosts: edge.Host, pools: dict[str, Sequence[str]]) -> None:
        """Send a table by hand, as the feeder would."""
        members = tuple(edge.Pool(name, tuple(sorted(pools[name]))) for name in sorted(pools))
        async with self.client() as client:
            await client.replace_table(edge_config.render_table(edge.Routes(hosts, members)))

    async def get(self, host: str, path: str = "/", **headers: str) -> tuple[int, str, str | None]:
        """Ask over http on a new connection: status, body and Retry-After."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.get(self.url + path, headers={"Host": host, **headers}) as answer,
        ):
            return answer.status, await answer.text(), answer.headers.get("Retry-After")

    async def curl(self, host: str, path: str = "/", *options: str) -> str:
        """Ask over https with curl, trusting nothing but the edge's own authority."""
        process = await asyncio.create_subprocess_exec(
            *("curl", "--silent", "--show-error", "--max-time", "60", "--noproxy", "*"),
            *("--cacert", str(self.settings.authority_file)),
            *("--resolve", f"{host}:{self.settings.https_port}:127.0.0.1"),
            *options,
            f"https://{host}:{self.settings.https_port}{path}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return output.decode()


@dataclass(slots=True, eq=False)
class Pod:
    """A server that answers with its name; counts and can be told to be slow to end."""

    name: str
    address: str
    port: int = 0
    requests: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    events: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """How many more events may be sent."""
    _runner: web.AppRunner | None = None

    @property
    def endpoint(self) -> str:
        """`ip:port`."""
        return f"{self.address}:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/echo", self._echo),
                web.get("/events", self._events),
                web.route("*", "/{path:.*}", self._answer),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        self.headers.append(dict(request.headers))
        await request.read()
        return web.Response(text=self.name)

    async def _echo(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{self.name}: {message.data}")
        return socket

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(100):
            await self.events.acquire()
            await response.write(f"data: {number}\n\n".encode())
        return response


def start_entry(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start an entry point of the operator's package; it dies with the test run."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL"),
                *(sys.executable, "-m", "bex_operator"),
                *command,
            ],
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )


def stop_entry(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Signal a process and wait for its end; returns its exit code."""
    process.send_signal(number)
    try:
        return process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@pytest.fixture(scope="session")
def caddy_binary() -> Path:
    """Caddy as the toolchain builds it."""
    from bex_stack.embedded import toolchain

    return toolchain.ensure(["caddy"]).path("caddy")


@pytest.fixture
def stopped_proxy(caddy_binary: Path) -> Iterator[Proxy]:
    """A Caddy that has not been started yet."""
    # Not pytest's folder: a unix socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="bex-edge-") as name:
        directory = Path(name)
        http_port, https_port = free_ports(2)
        evidence.keep(directory)
        settings = edge_config.Settings(
            directory / "run" / "caddy.sock", directory / "storage", http_port, https_port
        )
        proxy = Proxy(settings, caddy_binary, directory)
        try:
            yield proxy
        finally:
            proxy.stop(signal.SIGKILL)


@pytest.fixture
async def proxy(stopped_proxy: Proxy) -> Proxy:
    """A Caddy that runs, with the bootstrap configuration."""
    await stopped_proxy.start()
    return stopped_proxy


@pytest.fixture
async def pods() -> AsyncIterator[tuple[Pod, Pod]]:
    """Two pods that answer."""
    both = Pod("one", "127.0.0.1"), Pod("two", "127.0.0.1")
    for pod in both:
        await pod.start()
    yield both
    for pod in both:
        await pod.stop()
