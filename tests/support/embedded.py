"""A real embedded cluster for tests: control plane, name server, registry and three machines.

`embedded` is made once per session and shared; tests that break it let it heal before they end.
"""

import asyncio
import contextlib
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bex_operator.kube import client as kube
from bex_operator.kube import kinds
from bex_stack.embedded import (
    cluster,
    host,
    images,
    machine_config,
    machines,
    services,
    teardown,
    toolchain,
)
from bex_stack.embedded import instance as instances
from tests.support import evidence, leftovers, places
from tests.support.waiting import wait_until

__all__ = ["embedded", "wait_until"]

HELLO = "localhost:5050/bex/hello-go:1"
FIELD_MANAGER = "bex-test"
MACHINES = (
    machine_config.Machine("control-plane", 0, "control-plane"),
    machine_config.Machine("worker-1", 1),
    machine_config.Machine("worker-2", 2),
)
_EXAMPLES = Path(__file__).parents[2] / "examples"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Embedded:
    """One instance, its programs, and what tests do with it."""

    instance: instances.Instance
    tools: toolchain.Toolchain

    def ensure(self, *wanted: machine_config.Machine) -> None:
        """Bring up control plane, name server, registry and machines."""
        host.ensure(self.instance)
        cluster.ensure(self.instance, self.tools.paths)
        services.ensure_dns(self.instance, self.tools.paths)
        services.ensure_registry(self.instance, self.tools.path("registry"))
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.ensure_machine, wanted))

    def ensure_machine(self, machine: machine_config.Machine) -> None:
        """Bring up one machine."""
        machines.ensure(self.instance, machine, self.tools.paths)

    def push_images(self) -> None:
        """Push the pause image and examples/hello-go."""
        registry = f"127.0.0.1:{self.instance.registry_port}"
        pause = images.build_pause_image(toolchain=self.tools)
        images.push(pause, f"{registry}/pause:3.10.2", toolchain=self.tools)
        hello = images.build_go_image(_EXAMPLES / "hello-go", toolchain=self.tools)
        images.push(hello, f"{registry}/bex/hello-go:1", toolchain=self.tools)

    def ask(
        self, question: Callable[[kube.Client], Awaitable[T]], kubeconfig: Path | None = None
    ) -> T:
        """Put a question to the API server, as the administrator unless told otherwise."""

        async def run() -> T:
            async with kube.Client.from_kubeconfig(kubeconfig or self.instance.kubeconfig) as api:
                return await question(api)

        return asyncio.run(run())

    def apply(self, *objects: dict[str, Any]) -> None:
        """Server-side apply objects."""

        async def run(api: kube.Client) -> None:
            for obj in objects:
                await api.apply(obj, field_manager=FIELD_MANAGER)

        self.ask(run)

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        """List the pods of a namespace that are not ending."""
        found = self.ask(lambda api: api.list(kinds.POD, namespace)).items
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, namespace: str) -> list[dict[str, Any]]:
        """List the pods of a namespace that are Ready."""
        return [pod for pod in self.pods(namespace) if is_ready(pod)]

    def is_node_ready(self, name: str) -> bool:
        """Whether a node is Ready."""
        return machines.is_node_ready(self.instance, name)

    def run_in_machine(self, machine: str, code: str) -> str:
        """Run Python in the network of a machine; return what it printed."""
        return run_python([f"--net=/run/netns/{self.instance.namespace(machine)}"], code)

    def run_in_pod(self, pod: str, code: str) -> str:
        """Run Python in the network of a pod; return what it printed."""
        return run_python(["--net", f"--target={pid_in_pod(pod)}"], code)

    @contextlib.contextmanager
    def namespace(self, name: str) -> Iterator[str]:
        """Make a namespace for one test, named after *name*; delete it without waiting for it."""
        unique = f"{name}-{secrets.token_hex(3)}"
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": unique}})
        yield unique
        self.ask(lambda api: api.delete(kinds.NAMESPACE, unique))


def make_embedded(name: str, octet: int, home: Path, **settings: Any) -> Embedded:
    """Describe an instance of its own: networks and ports follow from *octet* (90-99)."""
    instance = instances.from_inputs(
        {
            "name": places.name(name),
            "home": str(home),
            "network": places.network(octet),
            "pod_network": places.pod_network(octet + 100),
            "edge_http_port": places.port(octet - 90),
            "edge_https_port": places.port(octet - 80),
            "registry_port": places.port(octet - 70),
            **settings,
        }
    )
    leftovers.clear(instance)
    evidence.keep(instance.log_dir)
    names = [*toolchain.CONTROL_PLANE, *toolchain.REGISTRY, *toolchain.MACHINE, "coredns"]
    return Embedded(instance, toolchain.ensure(names))


@pytest.fixture(scope="session")
def embedded() -> Iterator[Embedded]:
    """Serve a whole cluster for the test session and leave nothing of it."""
    home = Path(tempfile.mkdtemp(prefix="bex-t-"))
    made = make_embedded("shared", 94, home)
    try:
        with evidence.noted(made.instance.log_dir):
            made.ensure(*MACHINES)
            made.push_images()
        yield made
    finally:
        teardown.destroy(made.instance)
        shutil.rmtree(home)


def deployment(
    namespace: str, *, replicas: int, cpu: str = "10m", **pod_spec: Any
) -> dict[str, Any]:
    """Return a Deployment of hello-go."""
    labels = {"app": "hello"}
    container = {
        "name": "hello",
        "image": HELLO,
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": cpu, "memory": "16Mi"}},
    }
    # Machines learn that a pod leaves a moment after the pod does.
    container["lifecycle"] = {"preStop": {"sleep": {"seconds": 5}}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 10, **pod_spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "hello", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def service(namespace: str) -> dict[str, Any]:
    """Return the Service of `deployment`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "hello", "namespace": namespace},
        "spec": {"selector": {"app": "hello"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def budget(namespace: str, *, min_available: int) -> dict[str, Any]:
    """Return a PodDisruptionBudget for `deployment`."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "hello", "namespace": namespace},
        "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": "hello"}}},
    }


SPREAD = {
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "nodeTaintsPolicy": "Honor",
            "labelSelector": {"matchLabels": {"app": "hello"}},
        }
    ]
}
"""Pod settings that put one replica on each worker."""


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod is Ready."""
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def fetch(url: str) -> str:
    """GET *url* from the host."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own http URL
        return str(answer.read().decode())


def fetching(url: str) -> str:
    """Return Python that prints what *url* answers."""
    return f"import urllib.request as r\nprint(r.urlopen({url!r}, timeout=30).read().decode())"


def connecting(address: str, *ports: int, seconds: float = 30.0) -> str:
    """Return Python that prints for each port whether a TCP connection to *address* is taken."""
    return f"""
import concurrent.futures, socket
def ask(port):
    try:
        socket.create_connection(({address!r}, port), timeout={seconds}).close()
    except OSError:
        return "closed"
    return "open"
with concurrent.futures.ThreadPoolExecutor() as pool:
    print(*pool.map(ask, {list(ports)}))
"""


def resolving(name: str, server: str) -> str:
    """Return Python that prints the first IPv4 address *server* has for *name*."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    query = b"\0\1\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"
    return (
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)\n"
        f"s.sendto({query!r}, ({server!r}, 53))\n"
        "print(socket.inet_ntoa(s.recv(512)[-4:]))"
    )


def run_python(where: list[str], code: str) -> str:
    """Run Python in namespaces given to nsenter(1)."""
    command = ["nsenter", *where, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def pid_in_pod(pod: str) -> int:
    """Return the id on this host of the program of a pod's container."""
    mark = f"HOSTNAME={pod}".encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                return int(entry.name)
    raise AssertionError(f"no process of pod {pod}")


def snapshot() -> dict[str, list[str]]:
    """What of the host's kernel state an instance could leave behind."""

    def lines(*command: str) -> list[str]:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True
        ).stdout.splitlines()

    links = json.loads(subprocess.check_output(["ip", "-json", "link"], timeout=30))
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob("*/*/") if path.is_dir()]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return {
        "links": sorted(link["ifname"] for link in links),
        "routes": lines("ip", "route"),
        "nftables": [line for line in lines("nft", "list", "ruleset") if line.startswith("table")],
        "namespaces": sorted(str(path) for path in Path("/run/netns").glob("*")),
        "mounts": sorted(mounts),
        "control groups": sorted(groups),
        "forwarding": [Path("/proc/sys/net/ipv4/ip_forward").read_text()],
        "panic": [Path("/proc/sys/kernel/panic").read_text()],
        "overcommit": [Path("/proc/sys/vm/overcommit_memory").read_text()],
        "shared": sorted(str(path) for path in Path("/run/bex").rglob("*")),
    }
