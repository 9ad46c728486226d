"""The stack `local`, brought up by `bex` itself, in a project and a state of its own.

What differs from `Pulumi.local.yaml` are doors that users have too: an existing management cluster
(here made by the program's own provider for kind), a registry and images of one's own, no charts.
What those leave out is brought along: the pod network, and who approves kubelets' certificates.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bex_stack.embedded import images as app_images
from bex_stack.embedded import operator_image
from bex_stack.embedded import toolchain as toolchains
from components import infra_cluster
from components.dynamic import kind
from components.manifests import zot
from tests.local import docker_engine, images, machines, management
from tests.support import places, waiting

ROOT = Path(__file__).parents[2]
BEX = Path(sys.executable).with_name("bex")
REGISTRY = "bex-zot"
"""The registry's container, called like the one it stands in for. It is the mirror, too."""
PUBLIC = "traefik/whoami:latest"
"""An image that the app `whoami` calls by its public name; the mirror has hello in its place."""
PASSWORD = "test"
UP_SECONDS = 1800
CALL_SECONDS = 120
FIRST_PORT = 5050


@dataclass(frozen=True, slots=True)
class Local:
    """The stack, and how it is asked."""

    project: Path
    home: Path
    engine: docker_engine.Engine
    infra_kubeconfig: Path
    programs: Path
    version: str = images.VERSION

    @property
    def kubeconfig(self) -> Path:
        """The app cluster's."""
        return self.project / "infra" / "test" / "bex.kubeconfig"

    @property
    def environment(self) -> Mapping[str, str]:
        """What commands on this stack run with."""
        return {
            **os.environ,
            "BEX_HOME": str(self.home),
            "DOCKER_HOST": self.engine.host,
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PULUMI_CONFIG_PASSPHRASE": PASSWORD,
        }

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a `bex` command on this stack."""
        return [str(BEX), *arguments, "--stack", "test", "--cwd", str(self.project)]

    def bex(self, *arguments: str) -> str:
        """Run a `bex` command; return what it printed."""
        return _run(self.command(*arguments), self.environment, UP_SECONDS)

    def kubectl(self, *arguments: str, infra: bool = False) -> str:
        """Ask the app cluster, or the infra cluster."""
        kubeconfig = self.infra_kubeconfig if infra else self.kubeconfig
        command = ["kubectl", f"--kubeconfig={kubeconfig}", "--request-timeout=60s", *arguments]
        return _run(command, self.environment, CALL_SECONDS)

    def listed(self, kind: str, *options: str, infra: bool = False) -> list[dict[str, Any]]:
        """List objects of one kind."""
        told = self.kubectl("get", kind, "--output=json", *options, infra=infra)
        return list(json.loads(told)["items"])

    def nodes(self) -> list[dict[str, Any]]:
        """List the machines as the app cluster knows them."""
        return self.listed("nodes")

    def pods(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        """List the pods that a label names."""
        return self.listed("pods", f"--namespace={namespace}", f"--selector={selector}")

    def set_workers(self, count: int) -> None:
        """Change the stack file and bring the stack up."""
        _write_settings(self.project, {**_read_settings(self.project), "workers": count})
        self.bex("up", "--yes")

    def approve(self) -> None:
        """Approve what kubelets ask to serve with, as csr-approver does where charts are used."""
        for request in self.listed("certificatesigningrequests"):
            if machines.waits_for_approval(request):
                self.kubectl("certificate", "approve", machines.name(request))

    def wait_for_workers(self, accepts: Callable[[set[str]], bool], what: str) -> set[str]:
        """Wait until the machines for apps are as wanted; return their names."""
        found: set[str] = set()

        def is_so() -> bool:
            nonlocal found
            self.approve()
            found = machines.ready_workers(self.nodes())
            return accepts(found)

        waiting.wait_until(is_so, what, UP_SECONDS)
        return found


@contextlib.contextmanager
def running() -> Iterator[Local]:
    """Run everything that the stack stands on, and the stack; both are gone afterwards."""
    tools = images.toolchain()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bex-local-")))
        engine = stack.enter_context(docker_engine.running())
        stack.enter_context(_environment(DOCKER_HOST=engine.host))
        infra = stack.enter_context(_infra_cluster(engine, tools, folder))
        operator = stack.enter_context(_registry(engine, tools))
        local = _project(folder, engine, infra, tools)
        _write_settings(local.project, {**_settings(infra), "operatorImage": operator})
        stack.callback(_destroy, local)
        _up(local)
        yield local


def _up(local: Local) -> None:
    """Bring the stack up; meanwhile bring what the settings leave to the user."""
    with subprocess.Popen(
        local.command("up", "--yes"),
        env=local.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        try:
            waiting.wait_until(
                lambda: local.kubeconfig.exists() or running.poll() is not None,
                "the app cluster's kubeconfig is written",
                UP_SECONDS,
            )
            if running.poll() is None:
                local.kubectl("apply", f"--filename={images.FILES}/kind/manifests/default-cni.yaml")
            said, _ = running.communicate(timeout=UP_SECONDS)
        finally:
            running.kill()
    if running.returncode:
        raise AssertionError(f"bex up exited with {running.returncode}:\n{said}")


def _destroy(local: Local) -> None:
    """Take the stack down; what it stands on is all that Docker still has."""
    local.bex("destroy", "--yes")
    left = local.engine.everything()
    assert set(left["containers"]) == {REGISTRY, f"{infra_cluster.NAME}-control-plane"}, left
    assert left["networks"] == [kind.NETWORK], left
    assert not local.kubeconfig.exists()


@contextlib.contextmanager
def _infra_cluster(
    engine: docker_engine.Engine, tools: toolchains.Toolchain, folder: Path
) -> Iterator[Path]:
    """Run kind by the program's own provider, and Cluster API on it; lend its kubeconfig."""
    for archive, name, entrypoint in (
        (images.node(tools), images.NODE, "/usr/local/bin/entrypoint"),
        (images.balancer(tools), images.BALANCER, "/usr/local/sbin/haproxy"),
        (images.registry(tools), images.REGISTRY, "/registry"),
    ):
        engine.load(archive, name, entrypoint=entrypoint)
    provider = kind.KindProvider()
    inputs = {
        "cluster": infra_cluster.NAME,
        "image": images.NODE,
        "configuration": kind.configuration("kindnet"),
    }
    made = provider.create(inputs)
    assert made.outs is not None
    kubeconfig, managers = folder / "infra.kubeconfig", folder / "managers"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(made.outs["kubeconfig"])
    managers.mkdir()
    gateway = "{{(index .IPAM.Config 0).Gateway}}"
    address = engine.docker("network", "inspect", "kind", "--format", gateway).strip()
    try:
        with management.running(kubeconfig, managers, address, engine.host):
            yield kubeconfig
    finally:
        provider.delete(made.id or "", made.outs)


@contextlib.contextmanager
def _registry(engine: docker_engine.Engine, tools: toolchains.Toolchain) -> Iterator[str]:
    """Run a registry with the operator's image and the app's; lend the operator's reference."""
    port = next(port for port in (FIRST_PORT, *places.free_ports(1)) if _is_free(port))
    published = f"127.0.0.1:{port}"
    where = ["--network=kind", f"--publish={published}:{zot.PORT}"]
    options = [f"-root={zot.ROOT}", f"-listen=0.0.0.0:{zot.PORT}"]
    engine.docker("run", "--detach", f"--name={REGISTRY}", *where, images.REGISTRY, *options)
    try:
        waiting.wait_until(
            lambda: app_images.digest_in_registry(published, "bex/operator", "1") is not None,
            "the registry answers",
        )
        layout = operator_image.ensure()
        digest = app_images.push(layout, f"{published}/bex/operator:1", toolchain=tools)
        hello = app_images.build_go_image(ROOT / "examples/hello-go", toolchain=tools)
        for name in ("bex/hello-go:1", PUBLIC):
            app_images.push(hello, f"{published}/{name}", toolchain=tools)
        yield f"localhost:5050/bex/operator@{digest}"
    finally:
        engine.docker("rm", "--force", "--volumes", REGISTRY)


def _settings(infra: Path) -> dict[str, Any]:
    return {
        "provider": "capd",
        "clusterApi": "existing",
        "infraKubeconfig": str(infra),
        "cni": "none",
        "platform": "none",
        "registryUrl": f"http://{REGISTRY}:{zot.PORT}",
        # No file is taken from its folder: charts and manifests are left out.
        "mirror": [f"{REGISTRY}:{zot.PORT}", "mirror"],
        "nodeImage": images.NODE,
        "loadBalancerImage": images.BALANCER,
        "kubernetesVersion": images.VERSION,
        "unhealthySeconds": 120,
        "workers": 2,
        "apps": ["hello", "whoami"],
    }


def _project(
    folder: Path, engine: docker_engine.Engine, infra: Path, tools: toolchains.Toolchain
) -> Local:
    """Lay out a copy of the program with its apps `hello` and `whoami`."""
    project, programs = folder / "project", folder / "bin"
    (project / "apps").mkdir(parents=True)
    apps = [f"apps/{name}.py" for name in ("__init__", "hello", "whoami")]
    for name in ("__main__.py", "Pulumi.yaml", *apps):
        shutil.copy(ROOT / name, project / name)
    programs.mkdir()
    (programs / "kubectl").symlink_to(tools.path("kubectl"))
    return Local(project, folder / "home", engine, infra, programs)


def _settings_file(project: Path) -> Path:
    return project / "Pulumi.test.yaml"


def _read_settings(project: Path) -> dict[str, Any]:
    lines = _settings_file(project).read_text().splitlines()[1:]
    pairs = (line.strip().removeprefix("bex:").split(": ", 1) for line in lines)
    return {key: json.loads(value) for key, value in pairs}


def _write_settings(project: Path, settings: Mapping[str, Any]) -> None:
    lines = "".join(f"  bex:{key}: {json.dumps(value)}\n" for key, value in settings.items())
    _settings_file(project).write_text(f"config:\n{lines}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables for the program's own providers, which run in this process."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def _run(command: list[str], env: Mapping[str, str], seconds: float) -> str:
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        said = f"{' '.join(command[:5])} exited with {done.returncode}"
        raise AssertionError(f"{said}:\n{done.stdout}\n{done.stderr}")
    return done.stdout
