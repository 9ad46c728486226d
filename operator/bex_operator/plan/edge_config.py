"""Renders Caddy's complete JSON configuration from `Routes`: one server for http and https.

Pods are not in the routes but in pools, which Caddy's `bex` module (tools/edge/pools) replaces
without a reload. `install_trust` is always false: Caddy run as root would otherwise write its
authority into the system's trust store. Source: Caddy 2.11 JSON structure.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from bex_operator.plan import edge, edge_pages

Config = dict[str, Any]

FALLBACK_NAMES = ("*.localhost", "localhost")
"""Certificates for https on hosts without a route; the last serves any other name, so that whoever
looks past the warning gets the 404 page instead of a broken handshake."""

STREAM_CLOSE_SECONDS = 24 * 3600
"""How long WebSockets and running responses outlive the configuration they began under."""

RETRY_SECONDS = 5
"""How long a request looks for a pod that takes it; only what was surely not processed, or is safe
to repeat, is sent twice."""

DIAL_TIMEOUT = "1s"

IDLE_UPSTREAM_TIMEOUT = "1500ms"
"""Below what common servers keep an idle connection (gunicorn 2 s, Node and uvicorn 5 s): a POST on
one that the server is closing would fail."""

_SAFE_METHODS = ["GET", "HEAD", "OPTIONS"]

_SPOOFABLE = ["Forwarded", "X-Real-Ip", "X-Forwarded-*", "X_Forwarded_*"]
"""Dropped from what clients send; Caddy then sets X-Forwarded-For, -Host and -Proto. The one with
underscores becomes the same variable in WSGI and CGI."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where Caddy listens and keeps its files."""

    admin_socket: PurePosixPath
    storage: PurePosixPath
    """Certificates, the authority and the configuration to start from."""
    http_port: int
    https_port: int
    listen: tuple[str, ...] = ("127.0.0.1",)
    """Addresses, each for both ports."""

    @property
    def config_file(self) -> PurePosixPath:
        """What Caddy starts from: the bootstrap configuration, then whatever was loaded last."""
        return self.storage / "caddy.json"

    @property
    def authority_file(self) -> PurePosixPath:
        """The local authority's certificate, PEM; exists once Caddy has run."""
        return self.storage / "pki" / "authorities" / "local" / "root.crt"


@dataclass(frozen=True, slots=True)
class Target:
    """What Caddy should hold: the configuration and, for comparison, the digests of its parts."""

    config: Config
    routes_digest: str
    """Changes when the configuration has to be loaded."""
    pools: dict[str, list[str]]
    pools_digest: str
    """Changes when the pools have to be replaced."""


def render(routes: edge.Routes, settings: Settings) -> Target:
    """Render everything for these routes."""
    config = _config(
        settings,
        [
            {"handle": [{"handler": "headers", "request": {"delete": _SPOOFABLE}}]},
            *(_host_route(host) for host in routes.hosts),
            {"handle": [edge_pages.UNKNOWN_HOST]},
        ],
        [host.name for host in routes.hosts],
    )
    digest = _digest(config)
    pools = {pool.name: list(pool.addresses) for pool in routes.pools}
    config["apps"]["bex"] = {"routes": digest, "pools": pools}
    return Target(config, digest, pools, _digest(pools))


def bootstrap(settings: Settings) -> Config:
    """Render what Caddy starts from before any route is known: a page that asks to come back."""
    config = _config(settings, [{"handle": [edge_pages.STARTING]}], [])
    config["apps"]["bex"] = {"routes": "bootstrap", "pools": {}}
    return config


def fits(config: object, settings: Settings) -> bool:
    """Tell whether a configuration kept from an earlier run was made for these settings."""
    wanted = bootstrap(settings)
    try:
        return all(_at(config, path) == _at(wanted, path) for path in _FIXED)
    except (KeyError, TypeError):
        return False


_FIXED = (
    ("admin",),
    ("storage",),
    ("apps", "pki"),
    ("apps", "http", "http_port"),
    ("apps", "http", "https_port"),
    ("apps", "http", "servers", "edge", "listen"),
)


def _at(config: Any, path: Sequence[str]) -> object:
    for key in path:
        config = config[key]
    return config


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _config(settings: Settings, routes: list[Config], names: Sequence[str]) -> Config:
    ports = (settings.http_port, settings.https_port)
    return {
        "admin": {
            "listen": f"unix/{settings.admin_socket}|0600",
            "config": {"persist": False},
        },
        "logging": _LOGGING,
        "storage": {"module": "file_system", "root": str(settings.storage)},
        "apps": {
            "pki": {"certificate_authorities": {"local": _AUTHORITY}},
            "tls": {
                "certificates": {"automate": sorted({*FALLBACK_NAMES, *names})},
                "automation": {"policies": [{"issuers": [{"module": "internal"}]}]},
            },
            "http": {
                # Caddy leaves TLS away from listeners on this port: one server has both.
                "http_port": settings.http_port,
                "https_port": settings.https_port,
                "grace_period": f"{STREAM_CLOSE_SECONDS}s",
                "servers": {
                    "edge": {
                        "listen": [_join(each, port) for port in ports for each in settings.listen],
                        **_SERVER,
                        "routes": routes,
                    }
                },
            },
        },
    }


def _join(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


_AUTHORITY = {
    "name": "bex edge",
    "root_common_name": "bex edge local authority",
    "install_trust": False,
}

_WITHOUT_SECRETS = {
    "format": "filter",
    "wrap": {"format": "json"},
    "fields": {
        "request>headers": {"filter": "delete"},
        "resp_headers": {"filter": "delete"},
        "request>uri": {"filter": "regexp", "regexp": r"\?.*", "value": ""},
    },
}

_LOGGING = {
    "logs": {
        "default": {
            "writer": {"output": "stderr"},
            "level": "INFO",
            "encoder": _WITHOUT_SECRETS,
            "exclude": ["http.log.access", "admin.api"],
        },
        # The feeder asks every second, which is worth no line.
        "admin": {
            "writer": {"output": "stderr"},
            "level": "WARN",
            "encoder": {"format": "json"},
            "include": ["admin.api"],
        },
        "access": {
            "writer": {"output": "stdout"},
            "level": "INFO",
            "encoder": _WITHOUT_SECRETS,
            "include": ["http.log.access"],
        },
    }
}

_SERVER: Mapping[str, Any] = {
    "protocols": ["h1", "h2", "h2c"],
    "read_header_timeout": "10s",
    "idle_timeout": "2m",
    "max_header_bytes": 65536,
    # Names to certify and redirects are ours to say; nothing is derived from the routes.
    "automatic_https": {"disable": True},
    "tls_connection_policies": [
        {"default_sni": FALLBACK_NAMES[-1], "fallback_sni": FALLBACK_NAMES[-1]}
    ],
    "logs": {},
    "errors": {
        "routes": [
            {
                "match": [{"vars": {"{http.error.status_code}": ["503"]}}],
                "handle": [edge_pages.NO_POD],
                "terminal": True,
            },
            {"handle": [edge_pages.ERROR]},
        ]
    },
}


def _host_route(host: edge.Host) -> Config:
    routes = [route for path in host.paths for route in _path_routes(path)]
    return {
        # A name with the root's dot is the same name; Caddy compares them as they come.
        "match": [{"host": [host.name, f"{host.name}."]}],
        "handle": [
            {"handler": "subroute", "routes": [*routes, {"handle": [edge_pages.UNKNOWN_PATH]}]}
        ],
        "terminal": True,
    }


def _path_routes(path: edge.Path) -> list[Config]:
    matcher = _path_matcher(path)
    ready = {**matcher, "bex_ready": {"pool": path.pool}}
    otherwise = {"match": [matcher]} if matcher else {}
    return [
        {"match": [ready], "handle": [_proxy(path)], "terminal": True},
        {**otherwise, "handle": [edge_pages.NO_POD], "terminal": True},
    ]


def _path_matcher(path: edge.Path) -> Config:
    if path.path == "/" and not path.is_exact:
        return {}
    # Caddy's `path` matcher ignores case and knows placeholders and stars; Ingress paths do not.
    end = "$" if path.is_exact else "(?:/|$)"
    return {"path_regexp": {"pattern": f"^{re.escape(path.path)}{end}"}}


def _proxy(path: edge.Path) -> Config:
    # Responses without a length, event streams among them, are flushed as they come; a negative
    # flush_interval for all would also keep requests running whose client has left.
    transport: Config = {
        "protocol": "http",
        "dial_timeout": DIAL_TIMEOUT,
        "compression": False,
        "keep_alive": {"idle_timeout": IDLE_UPSTREAM_TIMEOUT},
    }
    if path.speaks == "h2c":
        transport["versions"] = ["h2c", "2"]
    return {
        "handler": "reverse_proxy",
        "dynamic_upstreams": {"source": "bex", "pool": path.pool},
        "load_balancing": {
            "selection_policy": {"policy": "least_conn"},
            "try_duration": f"{RETRY_SECONDS}s",
            "try_interval": "50ms",
            "retry_match": [{"method": _SAFE_METHODS}],
        },
        "stream_close_delay": f"{STREAM_CLOSE_SECONDS}s",
        "transport": transport,
    }
