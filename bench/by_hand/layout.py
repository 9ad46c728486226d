"""Names, addresses and places of the cluster made by hand; they clash with no other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

NAME = "hand"
BRIDGE, BRIDGE_ADDRESS = "hand0", "10.95.0.1"
NETWORK, POD_NETWORK, SERVICE_NETWORK = "10.95.0.0/24", "10.249.0.0/16", "10.96.0.0/16"
API = f"https://{BRIDGE_ADDRESS}:6443"
DNS_ADDRESS, API_SERVICE_ADDRESS = "10.96.0.10", "10.96.0.1"
EDGE_PORT, REGISTRY_PORT, NODE_PORT = 18951, 18950, 30080
MARKER = "BENCH_BY_HAND"
"""Environment variable of every process that is started, to find it again."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine: its node's name and its place in the network."""

    name: str
    slot: int

    @property
    def address(self) -> str:
        """On the bridge."""
        return f"10.95.0.{10 + self.slot}"

    @property
    def pod_cidr(self) -> str:
        """What its pods get."""
        return f"10.249.{self.slot}.0/24"

    @property
    def netns(self) -> Path:
        """Where its network namespace is held."""
        return Path(f"/run/netns/{NAME}-{self.name}")

    @property
    def veth(self) -> str:
        """The host's end of its cable."""
        return f"{NAME}-{self.slot}"

    @property
    def cgroup(self) -> str:
        """Below the root of each hierarchy."""
        return f"/{NAME}/{self.name}"

    @property
    def is_control_plane(self) -> bool:
        """The first machine takes no pods."""
        return self.slot == 0


def machine(slot: int) -> Machine:
    """Return the machine in *slot*: 0 is the control plane's, workers count from 1."""
    return Machine(f"worker-{slot}" if slot else "control-plane", slot)


@dataclass(frozen=True, slots=True)
class Site:
    """Where the cluster's files lie and what it is made from."""

    dir: Path
    programs: dict[str, Path]
    images: dict[str, Path]
    """OCI layouts by `repository:tag`."""

    def program(self, name: str) -> str:
        """Path of a binary."""
        return str(self.programs[name])

    def machine_dir(self, of: Machine) -> Path:
        """Disk of a machine."""
        return self.dir / "machines" / of.name


def read(file: Path) -> Site:
    """Read the description that `bench.hand` wrote."""
    found = json.loads(file.read_text())
    return Site(
        Path(found["dir"]),
        {name: Path(path) for name, path in found["programs"].items()},
        {name: Path(path) for name, path in found["images"].items()},
    )
