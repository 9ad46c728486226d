"""The objects of an App as the edge sees them, on a real API server, and a feeder process."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import aiohttp
import pytest
from pyroute2 import IPRoute

from bex_operator.kube import client as kube
from bex_operator.kube import kinds
from tests.support import edge_proxy, places
from tests.support.api_server import ApiServer
from tests.support.waiting import until

MANAGER = "test"


@dataclass(slots=True)
class Site:
    """A host, its Service and its pods, in a namespace of their own."""

    client: kube.Client
    namespace: str
    host: str

    async def write_ingress(self, *hosts: str, name: str = "web") -> None:
        """Route the hosts (default: the site's own) to the Service."""
        backend = {"service": {"name": "web", "port": {"name": "http"}}}
        paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
        rules = [{"host": host, "http": {"paths": paths}} for host in hosts or (self.host,)]
        await self._apply(
            kinds.INGRESS, name, {"spec": {"ingressClassName": "bex", "rules": rules}}
        )

    async def write_service(self) -> None:
        """Make the Service; its pods are written by hand."""
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        await self._apply(kinds.SERVICE, "web", {"spec": {"ports": ports}})

    async def add(self, *pods: edge_proxy.Pod, **conditions: bool) -> None:
        """Write a pod's endpoint: a slice of its own, since all pods here share one address."""
        for pod in pods:
            body = {
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": pod.port}],
                "endpoints": [{"addresses": [pod.address], "conditions": conditions}],
            }
            await self._apply(kinds.ENDPOINT_SLICE, f"web-{pod.name}", body)

    async def remove(self, *pods: edge_proxy.Pod) -> None:
        """Delete the pods' endpoints."""
        for pod in pods:
            await self.client.delete(kinds.ENDPOINT_SLICE, f"web-{pod.name}", self.namespace)

    async def remove_ingress(self, name: str = "web") -> None:
        """Delete an Ingress."""
        await self.client.delete(kinds.INGRESS, name, self.namespace)

    async def _apply(self, kind: kinds.Kind, name: str, body: dict[str, object]) -> None:
        metadata: dict[str, object] = {"name": name, "namespace": self.namespace}
        if kind is kinds.ENDPOINT_SLICE:
            metadata["labels"] = {"kubernetes.io/service-name": "web"}
        whole = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **body}
        await self.client.apply(whole, field_manager=MANAGER)


@dataclass(slots=True)
class Feeder:
    """The feeder as a process of its own."""

    proxy: edge_proxy.Proxy
    kubeconfig: str
    health_port: int
    _process: Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        command = [
            *("edge", f"--kubeconfig={self.kubeconfig}", f"--health-port={self.health_port}"),
            *self.proxy.arguments,
        ]
        self._process = edge_proxy.start_entry(command, self.proxy.directory / "feeder.log")

    async def is_ready(self) -> bool:
        """Tell whether it says it is ready."""
        try:
            return (await self.ask("/readyz"))[0] == 200
        except aiohttp.ClientError:
            return False

    async def is_alive(self) -> bool:
        """Tell whether it answers at all."""
        try:
            return (await self.ask("/healthz"))[0] == 200
        except aiohttp.ClientError:
            return False

    async def ask(self, path: str) -> tuple[int, str]:
        """Ask its health endpoint."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.health_port}{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def count(self, metric: str) -> float:
        """Read one of its metrics."""
        _, text = await self.ask("/metrics")
        return next(
            float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{metric} ")
        )

    def stop(self) -> int:
        """End it as a supervisor does; returns its exit code."""
        process, self._process = self._process, None
        return edge_proxy.stop_entry(process) if process else 0


@dataclass(slots=True)
class Line:
    """The way to the API server, which can be cut and mended."""

    target: int
    port: int
    _server: asyncio.Server | None = None
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def mend(self) -> None:
        """Listen and pass bytes on."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Refuse connections and end those that are open."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                await asyncio.gather(_copy(reader, back), _copy(there, writer))
            finally:
                back.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._open.discard(task)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()
    target.close()


@dataclass(slots=True)
class Load:
    """Clients that keep asking, each on its own kept-alive connection."""

    url: str
    host: str
    methods: Sequence[str] = ("GET", "POST")
    failures: list[str] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _is_over: bool = False

    async def __aenter__(self) -> "Load":
        self._tasks = [
            asyncio.create_task(self._ask(method)) for method in self.methods for _ in range(4)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _ask(self, method: str) -> None:
        async with aiohttp.ClientSession() as session:
            while not self._is_over:
                try:
                    await self._ask_once(session, method)
                except (aiohttp.ClientError, TimeoutError) as exc:
                    self.failures.append(f"{method}: {exc!r}")
                await asyncio.sleep(0.002)

    async def _ask_once(self, session: aiohttp.ClientSession, method: str) -> None:
        data = b"x" * 100 if method == "POST" else None
        async with session.request(
            method, self.url, headers={"Host": self.host}, data=data
        ) as answer:
            text = await answer.text()
        if answer.status == 200:
            self.answers[text] = self.answers.get(text, 0) + 1
        else:
            self.failures.append(f"{method}: {answer.status} {text}")


@pytest.fixture
async def line(api_server: ApiServer) -> AsyncIterator[Line]:
    """A line to the API server that is up."""
    (port,) = places.free_ports(1)
    line = Line(int(api_server.url.rpartition(":")[2]), port)
    await line.mend()
    yield line
    await line.cut()


@pytest.fixture
def kubeconfig_over_line(api_server: ApiServer, line: Line, tmp_path: Path) -> Path:
    """A kubeconfig that takes the line."""
    text = api_server.kubeconfig.read_text().replace(f":{line.target}", f":{line.port}")
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def host_address() -> str:
    """An address of this host that an EndpointSlice may hold: none of loopback."""
    with IPRoute() as routes:
        for each in routes.get_addr(family=socket.AF_INET):
            address = str(each.get("address"))
            if not address.startswith("127."):
                return address
    raise RuntimeError("the host has no IPv4 address outside of 127.0.0.0/8")


@pytest.fixture
async def site(api_server: ApiServer) -> AsyncIterator[Site]:
    """A namespace with the Service; its host is nobody else's."""
    name = f"edge-{secrets.token_hex(4)}"
    async with kube.Client.from_kubeconfig(api_server.kubeconfig) as client:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await client.create(namespace, field_manager=MANAGER)
        site = Site(client, name, f"{name}.localhost")
        await site.write_service()
        yield site
        for kind in (kinds.INGRESS, kinds.ENDPOINT_SLICE, kinds.SERVICE):
            for each in (await client.list(kind, name)).items:
                await client.delete(kind, each["metadata"]["name"], name)
        await client.delete(kinds.NAMESPACE, name)


@pytest.fixture
async def feeder(proxy: edge_proxy.Proxy, api_server: ApiServer) -> AsyncIterator[Feeder]:
    """A feeder that has fed its Caddy once."""
    (port,) = places.free_ports(1)
    feeder = Feeder(proxy, str(api_server.kubeconfig), port)
    feeder.start()
    try:
        await until(feeder.is_ready, "the feeder is ready")
        yield feeder
    finally:
        feeder.stop()


@pytest.fixture
async def cluster_pods(
    host_address: str,
) -> AsyncIterator[tuple[edge_proxy.Pod, edge_proxy.Pod]]:
    """Two pods on an address that EndpointSlices accept."""
    both = edge_proxy.Pod("one", host_address), edge_proxy.Pod("two", host_address)
    for pod in both:
        await pod.start()
    yield both
    for pod in both:
        await pod.stop()
