"""What the operator is told: one table of options, each also a BEX_… variable; read once."""

import argparse
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from bex_operator.api import hosts
from bex_operator.plan import claims

Runtime = Literal["kubernetes"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the process is told."""

    kubeconfig: Path | None
    """None inside a cluster: the pod's service account says who we are."""
    health_address: str
    health_port: int
    runtime: Runtime
    """What runs an App's containers."""
    namespaces: tuple[str, ...]
    """Namespaces it acts in; all if empty."""
    namespace_labels: str | None
    """Or those with these labels (a label selector)."""
    public_url: str
    """How an App's address is written; `{host}` stands for the host."""
    platform: claims.Platform
    """Which hosts are the platform's to keep and to give."""
    own_secrets: frozenset[str]
    """Names of Secrets that no App may name."""
    registries: Mapping[str, tuple[str, ...]]
    """Where images of a registry are looked up instead, in order."""
    registry_key: Path | None
    """What tokens for the platform's own registry are signed with."""
    certificate_issuer: str | None
    """ClusterIssuer that signs certificates of hosts; None where the edge has its own."""
    registry_care: str
    """URL of that registry, if it is looked after from here."""
    webhook_port: int
    """Where git servers tell of pushes; 0: nowhere."""
    builds: Path | None
    """What says how repositories are built; None where they are not."""
    leader_elect: bool
    lease_namespace: str
    identity: str


def endpoint(text: str) -> tuple[str, tuple[str, ...]]:
    """Read `HOST=URL[,URL]`.

    Raises:
        ValueError: it is none.
    """
    host, _, given = text.partition("=")
    urls = tuple(each.rstrip("/") for each in given.split(",") if each)
    if not host or not urls or any(urlsplit(url).scheme not in {"http", "https"} for url in urls):
        raise ValueError(f"{text!r} is not of the form HOST=URL[,URL]")
    return host, urls


def _runtime(text: str) -> Runtime:
    if text == "kubernetes":
        return "kubernetes"
    if text == "opensandbox":
        raise ValueError("the runtime 'opensandbox' is not supported yet; set it to 'kubernetes'")
    raise ValueError(f"there is no runtime {text!r}; set it to 'kubernetes'")


def _registries(text: str) -> Mapping[str, tuple[str, ...]]:
    return dict(endpoint(each) for each in text.split())


def _base_domain(text: str) -> str | None:
    return hosts.domain(text) if text else None


def _names(text: str) -> tuple[str, ...]:
    return tuple(each for each in text.split(",") if each)


def _reserved_hosts(text: str) -> frozenset[str]:
    return frozenset(hosts.pattern(each) for each in _names(text))


def _file(text: str) -> Path | None:
    return Path(text) if text else None


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: `--health-port` on the command line, else BEX_HEALTH_PORT, else the default."""

    name: str
    help: str
    read: Callable[[str], Any] = str
    """Raises ValueError with what is wrong."""
    default: str = ""
    variable: str | None = None
    """Another environment variable than the name says."""

    def add(self, parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
        """Describe it to *parser*."""
        variable = self.variable or f"BEX_{self.name.upper().replace('-', '_')}"
        parser.add_argument(
            f"--{self.name}",
            type=self._checked,
            default=environment.get(variable, self.default),
            help=f"{self.help} [{variable}]",
        )

    def _checked(self, text: str) -> Any:
        try:
            return self.read(text)
        except ValueError as bad:
            raise argparse.ArgumentTypeError(str(bad)) from bad


OPTIONS = (
    Option("kubeconfig", "file; the pod's service account without it", _file, "", "KUBECONFIG"),
    Option("health-address", "where /healthz, /readyz and /metrics are", default="127.0.0.1"),
    Option("health-port", "its port", int, "8081"),
    Option("runtime", "what runs the containers: kubernetes", _runtime, "kubernetes"),
    Option("namespaces", "comma-separated; all namespaces without it", _names),
    Option("namespace-labels", "only namespaces with these labels, like team=a"),
    Option("public-url", "an App's address, like http://{host}:8080", default="https://{host}"),
    Option("base-domain", "Apps with `expose: true` get a name under it", _base_domain),
    Option(
        "reserved-hosts",
        "hosts no App may have, comma-separated, like registry.example.com,*.bex.co",
        _reserved_hosts,
    ),
    Option(
        "own-secrets",
        "Secrets that no App may name, comma-separated, besides the labelled ones",
        _names,
    ),
    Option(
        "registries",
        "where images are looked up: HOST=URL[,URL] separated by blanks",
        _registries,
    ),
    Option("registry-key", "file with the key of tokens for the platform's registry", _file),
    Option("certificate-issuer", "cert-manager's ClusterIssuer for hosts; the edge's own without"),
    Option("registry-care", "URL of the platform's registry, to free it of what nobody needs"),
    Option("builds", "JSON file that says how repositories are built; not without it", _file),
    Option("webhook-port", "where git servers tell of pushes; nowhere without it", int, "0"),
    Option("identity", "name in the lease; one that a restart keeps leads again at once"),
    Option("lease-namespace", "where the lease is", default="bex-system"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    for option in OPTIONS:
        option.add(parser, os.environ)
    parser.add_argument("--leader-elect", action="store_true", help="act only with the lease")


def read(args: argparse.Namespace) -> Settings:
    """Collect what was given."""
    return Settings(
        kubeconfig=args.kubeconfig,
        health_address=args.health_address,
        health_port=args.health_port,
        runtime=args.runtime,
        namespaces=args.namespaces,
        namespace_labels=args.namespace_labels or None,
        public_url=args.public_url,
        platform=claims.Platform(args.base_domain, args.reserved_hosts),
        own_secrets=frozenset(args.own_secrets),
        registries=args.registries,
        registry_key=args.registry_key,
        certificate_issuer=args.certificate_issuer or None,
        registry_care=args.registry_care.rstrip("/"),
        webhook_port=args.webhook_port,
        builds=args.builds,
        leader_elect=args.leader_elect,
        lease_namespace=args.lease_namespace,
        identity=args.identity or f"{socket.gethostname()}-{os.getpid()}",
    )
