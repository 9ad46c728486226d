"""The platform's processes beside the cluster: operator, edge and the edge's feeder."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bex_operator.api import images
from bex_stack.embedded import builds, machine_config, operator_image, registry, toolchain
from bex_stack.embedded import instance as instances

OPERATOR_USER = "bex-operator"
EDGE_USER = "bex-edge"
BASE_DOMAIN = "localhost"
"""Names under it lead to this host without any DNS."""
OPERATOR_HEALTH_PORT = 8081
FEEDER_HEALTH_PORT = 8082


@dataclass(frozen=True, slots=True)
class Command:
    """One process for the supervisor to keep."""

    name: str
    command: tuple[str, ...]
    ready: Mapping[str, str]
    """How it is asked whether it is ready: `{"http": URL}` or `{"unix_http": SOCKET}`."""
    user: str | None = None
    """The Kubernetes user whose kubeconfig the process gets; None for one that needs none."""
    env: Mapping[str, str] = field(default_factory=dict)


def processes(
    instance: instances.Instance,
    *,
    has_operator: bool,
    buildpacks: images.Buildpacks | None = None,
) -> tuple[Command, ...]:
    """Say how this instance's platform processes are started; *has_operator*: from source."""
    beside = (edge(instance), feeder(instance))
    return (operator(instance, buildpacks), *beside) if has_operator else beside


def operator(instance: instances.Instance, buildpacks: images.Buildpacks | None = None) -> Command:
    """The operator, from source: the dev loop is an edit and `bex up`. It builds with *buildpacks*,
    or not at all."""
    address, port = instance.bind_address, OPERATOR_HEALTH_PORT
    options = {
        "kubeconfig": instance.kubeconfig_of(OPERATOR_USER),
        "health-address": address,
        "health-port": port,
        # One operator per instance: a name of its own lets it lead again at once after a crash.
        "identity": instance.name,
        **operator_options(instance, registry.endpoint(instance)),
    }
    env = _source()
    if buildpacks is not None:
        options["builds"] = builds.settings_file(instance)
        env = {**env, "BEX_BUILDER": builds.secret_name(instance, buildpacks)}
    return Command(
        "operator",
        (*_bex_operator("operator", options), "--leader-elect"),
        {"http": f"http://{address}:{port}/healthz"},
        OPERATOR_USER,
        env,
    )


def operator_options(instance: instances.Instance, our_registry: str) -> dict[str, str]:
    """Options of the operator wherever it runs; it reaches our registry at HOST:PORT.

    Images are looked up where machines get them: in our registry first, then in the real one.
    """
    ours = f"http://{our_registry}"
    places = {registry.KNOWN_AS: ours}
    places |= {name: f"{ours},{real}" for name, real in machine_config.MIRRORED.items()}
    return {
        "public-url": f"http://{{host}}:{instance.edge_http_port}",
        "base-domain": BASE_DOMAIN,
        "registry-care": ours,
        "registries": " ".join(f"{name}={urls}" for name, urls in places.items()),
    }


def edge(instance: instances.Instance) -> Command:
    """Caddy, from the configuration it was last given."""
    program = toolchain.locate(["caddy"])["caddy"]
    command = _bex_operator("caddy", {"caddy": program, **_edge_options(instance)})
    return Command("caddy", command, {"unix_http": str(_admin_socket(instance))})


def feeder(instance: instances.Instance) -> Command:
    """What watches Ingresses and tells Caddy."""
    address, port = instance.bind_address, FEEDER_HEALTH_PORT
    options = {
        "kubeconfig": instance.kubeconfig_of(EDGE_USER),
        "health-port": port,
        "health-address": address,
        **_edge_options(instance),
    }
    command = _bex_operator("edge", options)
    ready = {"http": f"http://{address}:{port}/healthz"}
    return Command("edge", command, ready, EDGE_USER, _source())


def _edge_options(instance: instances.Instance) -> dict[str, object]:
    return {
        "admin-socket": _admin_socket(instance),
        "storage": instance.edge_dir,
        "http-port": instance.edge_http_port,
        "https-port": instance.edge_https_port,
        "listen": "127.0.0.1",
    }


def _admin_socket(instance: instances.Instance) -> Path:
    return instance.run_dir / "caddy.sock"


def _source() -> Mapping[str, str]:
    """Stands for the modules a process is started from: when they change, it is started anew.

    An operator that is older than the CRD refuses Apps for fields it does not know. Caddy needs no
    restart: its launcher only renders the configuration.
    """
    return {"BEX_SOURCE": operator_image.source_digest()[:16]}


def _bex_operator(entry: str, options: Mapping[str, object]) -> tuple[str, ...]:
    pairs = (part for key, value in options.items() for part in (f"--{key}", str(value)))
    # One name for the interpreter, however the command was started: `python` and `python3` would
    # look like a change.
    interpreter = str(Path(sys.prefix) / "bin" / "python")
    return (interpreter, "-m", "bex_operator", entry, *pairs)
