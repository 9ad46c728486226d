"""Decides who answers for which host: Ingresses, Services and EndpointSlices in, `Routes` out.

Knows nothing of the proxy; `edge_config` turns Routes into its configuration. Requests go to pod
addresses directly. A host belongs to the Ingress that was created first, whole: two Ingresses never
share one. Ingress.spec.tls, defaultBackend, rules without a host and ExternalName Services are not
followed; the last would let an App reach whatever the edge's machine can.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal

from bex_operator.api import hosts

INGRESS_CLASS = "bex"

Speaks = Literal["http", "h2c"]

_HOST = re.compile(
    r"(\*\.)?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*"
)
_SERVICE_OF_SLICE = "kubernetes.io/service-name"

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Path:
    """A path of a host and the pool that answers for it."""

    path: str
    """Begins with a slash; ends with one only if it is the root or exact."""
    is_exact: bool
    pool: str
    speaks: Speaks = "http"
    """`h2c` where the Service's port says appProtocol kubernetes.io/h2c (gRPC)."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host and its paths, the one to be tried first in front."""

    name: str
    """Lower case, no trailing dot; `*.` in front stands for one label."""
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """The pods behind one port of a Service."""

    name: str
    """`namespace/service:port`."""
    addresses: tuple[str, ...]
    """`ip:port` of each ready pod, sorted; empty while none is ready."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A host of an Ingress that gets no route."""

    ingress: str
    """`namespace/name`."""
    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class Routes:
    """All there is to serve; equal for equal objects, whatever their order."""

    hosts: tuple[Host, ...] = ()
    """Hosts without a wildcard first, each kind sorted by name."""
    pools: tuple[Pool, ...] = ()
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class _Port:
    service: str
    """`namespace/name`."""
    number: str
    name: str
    speaks: Speaks = "http"

    @property
    def pool(self) -> str:
        return f"{self.service}:{self.number}"


@dataclass(frozen=True, slots=True)
class _Claim:
    """The Ingress a host belongs to, and the paths of all its rules for that host."""

    ingress: str
    paths: tuple[Object, ...]

    @property
    def namespace(self) -> str:
        return self.ingress.partition("/")[0]


def plan(
    ingresses: Iterable[Object],
    services: Iterable[Object],
    endpoint_slices: Iterable[Object],
    *,
    ingress_class: str = INGRESS_CLASS,
) -> Routes:
    """Decide the routes.

    The objects are networking.k8s.io/v1 Ingresses, v1 Services and discovery.k8s.io/v1
    EndpointSlices of all namespaces. Ingresses of other classes are left alone.
    """
    own = [each for each in ingresses if each["spec"].get("ingressClassName") == ingress_class]
    claims, refusals = _claim_hosts(sorted(own, key=_age))
    known_services = {_key(service): service for service in services}
    slices = _slices_by_service(endpoint_slices)
    found = []
    pools: dict[str, Pool] = {}
    for host, claim in claims.items():
        ports = [_port(claim.namespace, path["backend"], known_services) for path in claim.paths]
        for port in ports:
            members = _members(slices.get(port.service, []), port.name)
            pools[port.pool] = Pool(port.pool, members)
        found.append(Host(host, _in_order(zip(claim.paths, ports, strict=True))))
    return Routes(
        hosts=tuple(sorted(found, key=lambda host: (host.name.startswith("*"), host.name))),
        pools=tuple(pools[name] for name in sorted(pools)),
        refusals=tuple(sorted(refusals, key=lambda each: (each.ingress, each.host, each.reason))),
    )


def _key(obj: Object) -> str:
    metadata = obj["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"


def _age(ingress: Object) -> tuple[str, str]:
    # Times of the API are RFC 3339 in UTC, so they sort as text; those created within one second
    # need a second criterion that stays.
    return str(ingress["metadata"].get("creationTimestamp", "")), _key(ingress)


def _claim_hosts(ingresses: Iterable[Object]) -> tuple[dict[str, _Claim], set[Refusal]]:
    """Give each host to the first Ingress that names it."""
    claims: dict[str, _Claim] = {}
    refusals: set[Refusal] = set()
    for ingress in ingresses:
        owner = _key(ingress)
        for rule in ingress["spec"].get("rules") or []:
            host = hosts.fold(rule.get("host") or "")
            claim = claims.get(host, _Claim(owner, ()))
            reason = _reason_to_refuse(host, owner, claim)
            if reason:
                refusals.add(Refusal(owner, host, reason))
            else:
                claims[host] = _Claim(owner, claim.paths + _paths_of(rule))
    return claims, refusals


def _reason_to_refuse(host: str, owner: str, claim: _Claim) -> str | None:
    if not host:
        return "the rule names no host"
    if len(host) > 253 or not _HOST.fullmatch(host):
        return "the host is no DNS name"
    if claim.ingress != owner:
        return f"the host belongs to Ingress {claim.ingress}, which was created first"
    return None


def _paths_of(rule: Object) -> tuple[Object, ...]:
    paths = (rule.get("http") or {}).get("paths") or []
    return tuple(path for path in paths if (path.get("backend") or {}).get("service"))


def _port(namespace: str, backend: Object, services: Mapping[str, Object]) -> _Port:
    """Find the Service's port that an Ingress backend means, by number or by name."""
    wanted = backend["service"]
    service = f"{namespace}/{wanted['name']}"
    asked = wanted.get("port") or {}
    number, name = asked.get("number"), asked.get("name")
    spec = services.get(service, {}).get("spec") or {}
    ports = spec.get("ports") or []
    for port in ports if spec.get("type") != "ExternalName" else []:
        if port.get("port") == number or (name and port.get("name") == name):
            speaks: Speaks = "h2c" if port.get("appProtocol") == "kubernetes.io/h2c" else "http"
            return _Port(service, str(port["port"]), port.get("name") or "", speaks)
    # No such port: a pool nobody is in, under a name that no real port can have.
    return _Port(service, f"{number or name or ''}?", "?")


def _slices_by_service(endpoint_slices: Iterable[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = defaultdict(list)
    for each in endpoint_slices:
        metadata = each["metadata"]
        service = (metadata.get("labels") or {}).get(_SERVICE_OF_SLICE)
        if service and each.get("addressType") in ("IPv4", "IPv6"):
            found[f"{metadata.get('namespace', '')}/{service}"].append(each)
    return found


def _members(slices: Iterable[Object], port_name: str) -> tuple[str, ...]:
    found: set[str] = set()
    for each in slices:
        numbers = [
            port["port"]
            for port in each.get("ports") or []
            if (port.get("name") or "") == port_name and port.get("port")
        ]
        for endpoint in each.get("endpoints") or []:
            if _answers(endpoint.get("conditions") or {}):
                # All addresses of one endpoint are the same pod; consumers use the first.
                address = _address(endpoint["addresses"][0])
                found.update(f"{address}:{number}" for number in numbers if address)
    return tuple(sorted(found))


def _answers(conditions: Object) -> bool:
    # Unset means unknown, which the API says to read as ready and not terminating.
    return (
        conditions.get("ready") is not False
        and conditions.get("serving") is not False
        and not conditions.get("terminating")
    )


def _address(text: str) -> str | None:
    """Return the address as it stands before a port; None if no pod can have it.

    The API server refuses those too. Here it counts: the edge runs on the host's own network.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
    ):
        return None
    return f"[{address}]" if address.version == 6 else str(address)


def _in_order(paths: Iterable[tuple[Object, _Port]]) -> tuple[Path, ...]:
    """Order paths as Ingress wants them tried: exact ones, then the longest prefix."""
    found: dict[tuple[str, bool], Path] = {}
    for path, port in paths:
        text = path.get("path") or "/"
        is_exact = path.get("pathType") == "Exact"
        if not is_exact:
            text = text.rstrip("/") or "/"
        found.setdefault((text, is_exact), Path(text, is_exact, port.pool, port.speaks))
    return tuple(
        sorted(found.values(), key=lambda each: (not each.is_exact, -len(each.path), each.path))
    )
