"""The platform's processes beside the cluster: operator, edge and the edge's feeder."""

import sys
from dataclasses import dataclass

from bex_stack.embedded import instance as instances
from bex_stack.embedded import toolchain

OPERATOR_USER = "bex-operator"
EDGE_USER = "bex-edge"
OPERATOR_HEALTH_PORT = 8081
FEEDER_HEALTH_PORT = 8082


@dataclass(frozen=True, slots=True)
class Command:
    """One process for the supervisor to keep."""

    name: str
    command: tuple[str, ...]
    user: str | None = None
    """The Kubernetes user whose kubeconfig the process gets; None for one that needs none."""
    binaries: tuple[str, ...] = ()
    """Programs of the toolchain that have to be there first."""


def processes(instance: instances.Instance) -> tuple[Command, ...]:
    """Say how this instance's platform processes are started, in order."""
    return (operator(instance), edge(instance), feeder(instance))


def operator(instance: instances.Instance) -> Command:
    """The operator, from source: the dev loop is an edit and a restart."""
    return Command(
        "operator",
        (
            sys.executable,
            "-m",
            "bex_operator",
            "operator",
            "--kubeconfig",
            str(instance.kubeconfig_of(OPERATOR_USER)),
            "--health-address",
            instance.bind_address,
            "--health-port",
            str(OPERATOR_HEALTH_PORT),
            "--leader-elect",
        ),
        OPERATOR_USER,
    )


def edge(instance: instances.Instance) -> Command:
    """Caddy, from the configuration it was last given."""
    caddy = toolchain.locate(["caddy"])["caddy"]
    config = str(instance.dir / "edge" / "caddy.json")
    return Command("caddy", (str(caddy), "run", "--config", config), binaries=("caddy",))


def feeder(instance: instances.Instance) -> Command:
    """What watches Ingresses and tells Caddy."""
    return Command(
        "edge",
        (
            sys.executable,
            "-m",
            "bex_operator",
            "edge",
            "--kubeconfig",
            str(instance.kubeconfig_of(EDGE_USER)),
            "--admin-socket",
            str(instance.run_dir / "caddy.sock"),
            "--http-port",
            str(instance.edge_http_port),
            "--https-port",
            str(instance.edge_https_port),
            "--health-port",
            str(FEEDER_HEALTH_PORT),
        ),
        EDGE_USER,
    )
