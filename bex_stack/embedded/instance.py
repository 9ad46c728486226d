"""One embedded cluster as a value: its name, its addresses, its ports and where its files lie.

Everything an instance owns on the host is named after it, so two instances run side by side and
one can be removed by its name alone. Pure: reads no environment and touches no file.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

Kind = Literal["real", "simulated"]

API_PORT = 6443
DNS_PORT = 53
GIT_PORT = 9443
"""Where repositories of this host are served over https, if any are."""
CLUSTER_DOMAIN = "cluster.local"
SERVICE_NETWORK = ipaddress.IPv4Network("10.96.0.0/16")
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_SERVICE_ADDRESS = "10.96.0.10"
MARKER = "BEX_INSTANCE"
"""Environment variable that every process of an instance carries; how its orphans are found."""
FOLDER_MARKER = "BEX_INSTANCE_DIR"
"""A second one, with the instance's folder: names are the host's, folders are each BEX_HOME's."""

FIRST_MACHINE_HOST = 10
"""Machine N of a /24 has the address .(10+N); the ones below are the bridge's and free."""

DEFAULT_NETWORK = ipaddress.IPv4Network("10.90.0.0/24")
DEFAULT_POD_NETWORK = ipaddress.IPv4Network("10.244.0.0/16")

_NAME = re.compile(r"[a-z][a-z0-9]{0,9}")
_MACHINE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOME = re.compile(r"(/[A-Za-z0-9._@+-]*)+")
_SOCKET_PATH_MAX = 107 - len(".4194304")
"""sun_path of unix(7) less its NUL and the .PID under which supervisord binds at first."""


class InstanceError(ValueError):
    """A setting of the cluster breaks a rule; the message names setting, value and rule."""


@dataclass(frozen=True, slots=True)
class Instance:
    """Where one embedded cluster lives; two instances that run side by side share no field."""

    home: Path
    """State root (BEX_HOME), absolute."""
    name: str = "bex"
    network: ipaddress.IPv4Network = DEFAULT_NETWORK
    pod_network: ipaddress.IPv4Network = DEFAULT_POD_NETWORK
    edge_http_port: int = 8080
    edge_https_port: int = 8443
    registry_port: int = 5050
    kind: Kind = "real"
    """`simulated` needs no root: the control plane binds a loopback address, nodes are KWOK's."""
    inner: tuple[str, ...] = ()
    """Inner addresses (`CIDR:PORT`, IPv4) that builds may reach, for repositories there."""

    def __post_init__(self) -> None:
        """Refuse what could not work, before anything is started."""
        _check_name(self.name)
        _check_networks(self.network, self.pod_network)
        _check_ports(self.edge_http_port, self.edge_https_port, self.registry_port)
        if self.kind not in ("real", "simulated"):
            raise InstanceError(f"kind {self.kind!r} is neither 'real' nor 'simulated'")
        if not _HOME.fullmatch(str(self.home)):
            raise InstanceError(
                f"home {str(self.home)!r} is not an absolute path of letters, digits and ._@+-"
            )
        if len(str(self.supervisor_socket)) > _SOCKET_PATH_MAX:
            raise InstanceError(
                f"home {str(self.home)!r} is too long: {self.supervisor_socket} must not exceed "
                f"{_SOCKET_PATH_MAX} characters (a unix socket lies there)"
            )

    @property
    def dir(self) -> Path:
        """All data of this instance; removing it is the last step of destroy."""
        return self.home / "instances" / self.name

    @property
    def run_dir(self) -> Path:
        """Sockets and locks; nothing in it outlives its process in meaning."""
        return self.dir / "run"

    @property
    def log_dir(self) -> Path:
        """One rotated `<process>.log` per supervised process."""
        return self.dir / "log"

    @property
    def etc_dir(self) -> Path:
        """Rendered configuration of the host-side processes."""
        return self.dir / "etc"

    @property
    def pki_dir(self) -> Path:
        """Keys and certificates of the control plane."""
        return self.dir / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig (group system:masters)."""
        return self.dir / "kubeconfig"

    def kubeconfig_of(self, user: str) -> Path:
        """Kubeconfig of another user than the administrator; made for the first that needs it."""
        return self.dir / "kubeconfigs" / f"{user}.kubeconfig"

    @property
    def edge_dir(self) -> Path:
        """Where the edge keeps its last configuration, certificates and authority."""
        return self.dir / "edge"

    @property
    def edge_authority(self) -> Path:
        """Certificate of the local authority behind https; never put into a trust store."""
        return self.edge_dir / "pki/authorities/local/root.crt"

    @property
    def supervisor_socket(self) -> Path:
        """Where the instance's supervisord listens."""
        return self.run_dir / "supervisor.sock"

    @property
    def bridge(self) -> str:
        """The bridge all machines hang on."""
        return f"{self.name}0"

    @property
    def table(self) -> str:
        """Name of the instance's own nftables table (family ip)."""
        return self.name

    @property
    def bridge_address(self) -> str:
        """The host's address on the bridge: what machines call the host."""
        return str(self.network[1])

    @property
    def bind_address(self) -> str:
        """What the control plane listens on: the bridge, or a loopback address of its own."""
        if self.kind == "real":
            return self.bridge_address
        return ".".join(["127", *self.bridge_address.split(".")[1:]])

    @property
    def api_url(self) -> str:
        """The API server as the host and the machines reach it."""
        return f"https://{self.bind_address}:{API_PORT}"

    def machine_address(self, slot: int) -> str:
        """Address of the machine in *slot* on the bridge."""
        return str(self.network[FIRST_MACHINE_HOST + self._checked(slot)])

    def pod_cidr(self, slot: int) -> str:
        """The /24 whose addresses the pods of the machine in *slot* get."""
        first = int(self.pod_network.network_address) + 256 * self._checked(slot)
        return f"{ipaddress.IPv4Address(first)}/24"

    def build_cidr(self, slot: int) -> str:
        """The last /27 of it, kept for pods that build."""
        return str(list(ipaddress.IPv4Network(self.pod_cidr(slot)).subnets(new_prefix=27))[-1])

    def veth(self, slot: int) -> str:
        """Host side of the cable of the machine in *slot*."""
        return f"{self.name}-{self._checked(slot)}"

    def namespace(self, machine: str) -> str:
        """Name of the network namespace of *machine*."""
        return f"{self.name}-{checked_machine_name(machine)}"

    def machine_dir(self, machine: str) -> Path:
        """Disk of *machine*: images, volumes, pod logs, its own certificates."""
        return self.dir / "machines" / checked_machine_name(machine)

    def cgroup(self, machine: str) -> str:
        """Path of the control group of *machine*, from the root of the hierarchy."""
        return f"/{self.name}/{checked_machine_name(machine)}"

    @property
    def slots(self) -> int:
        """How many machines have an address."""
        by_address = self.network.num_addresses - FIRST_MACHINE_HOST - 1
        return min(by_address, self.pod_network.num_addresses // 256)

    def to_inputs(self) -> dict[str, Any]:
        """Plain JSON values, the inverse of `from_inputs`."""
        # Without any, what older stacks have in their state stays as it is.
        beside: dict[str, Any] = {"inner": list(self.inner)} if self.inner else {}
        return {
            **beside,
            "name": self.name,
            "network": str(self.network),
            "pod_network": str(self.pod_network),
            "edge_http_port": self.edge_http_port,
            "edge_https_port": self.edge_https_port,
            "registry_port": self.registry_port,
            "kind": self.kind,
            "home": str(self.home),
        }

    def _checked(self, slot: int) -> int:
        if not 0 <= slot < self.slots:
            raise InstanceError(
                f"machine slot {slot} is outside 0-{self.slots - 1} of network {self.network}"
            )
        return slot


def from_inputs(inputs: Mapping[str, Any]) -> Instance:
    """Read what `to_inputs` wrote; numbers may have become floats on the way (Pulumi).

    Raises: InstanceError.
    """
    known = set(Instance.__dataclass_fields__)
    unknown = sorted(key for key in inputs if key not in known and not key.startswith("__"))
    if unknown:
        raise InstanceError(f"unknown setting {unknown[0]!r}; known are {sorted(known)}")
    values = dict(inputs)
    return Instance(
        home=Path(str(values["home"])),
        name=str(values.get("name", "bex")),
        network=_network("network", values.get("network", DEFAULT_NETWORK)),
        pod_network=_network("pod_network", values.get("pod_network", DEFAULT_POD_NETWORK)),
        edge_http_port=int(values.get("edge_http_port", 8080)),
        edge_https_port=int(values.get("edge_https_port", 8443)),
        registry_port=int(values.get("registry_port", 5050)),
        kind=cast("Kind", values.get("kind", "real")),
        inner=tuple(values.get("inner", ())),
    )


def checked_machine_name(name: str) -> str:
    """Return *name* if it can name a node.

    Raises: InstanceError.
    """
    if not _MACHINE_NAME.fullmatch(name):
        raise InstanceError(f"machine name {name!r} is not a lower-case DNS label")
    return name


def _network(setting: str, value: object) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(str(value))
    except ValueError as exc:
        raise InstanceError(f"{setting} {value!r} is not an IPv4 network: {exc}") from exc


def _check_name(name: str) -> None:
    # A network interface has at most 15 characters and nftables names take no dash.
    if not _NAME.fullmatch(name):
        raise InstanceError(
            f"name {name!r} is not 1-10 lower-case letters and digits that begin with a letter"
        )


def _check_networks(network: ipaddress.IPv4Network, pods: ipaddress.IPv4Network) -> None:
    if network.prefixlen > 27:
        raise InstanceError(f"network {network} is smaller than a /27")
    if pods.prefixlen > 22:
        raise InstanceError(f"pod_network {pods} is smaller than a /22 (a /24 per machine)")
    named = {"network": network, "pod_network": pods, "service network": SERVICE_NETWORK}
    items = list(named.items())
    for index, (name, one) in enumerate(items):
        for other_name, other in items[index + 1 :]:
            if one.overlaps(other):
                raise InstanceError(f"{name} {one} overlaps {other_name} {other}")


def _check_ports(*ports: int) -> None:
    for port in ports:
        if not 1 <= port <= 65535:
            raise InstanceError(f"port {port} is outside 1-65535")
    if len(set(ports)) != len(ports):
        raise InstanceError(f"ports {', '.join(map(str, ports))} are not all different")
