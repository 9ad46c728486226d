"""Renders what Caddy gets: a configuration that follows from `Settings` alone, and a table.

Hosts, paths and pods are the table, which Caddy's `bex` modules (tools/edge/routes) look requests
up in and which is replaced without a reload. `install_trust` is always false: Caddy run as root
would otherwise write its authority into the system's trust store. Source: Caddy 2.11 JSON.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, get_args

from bex_operator.plan import edge, edge_pages

Config = dict[str, Any]
Table = dict[str, Any]

FALLBACK_NAME = "localhost"
"""Its certificate serves names without a route, so that whoever looks past the warning gets the 404
page and not a broken handshake."""

STREAM_CLOSE_SECONDS = 24 * 3600
"""How long WebSockets outlive a configuration they began under, which is replaced only when
settings change."""

GRACE_SECONDS = 5
"""How long running responses outlive that configuration, or the order to stop: less than the
supervisor waits before it kills."""

RETRY_SECONDS = 5
"""How long a request looks for a pod that takes it. After a connection broke, only GET, HEAD and
OPTIONS are sent again, and twice at most."""

DIAL_TIMEOUT = "1s"

IDLE_UPSTREAM_TIMEOUT = "1500ms"
"""Below what common servers keep an idle connection (gunicorn 2 s, Node and uvicorn 5 s): a POST on
one that the server is closing would fail."""

_SPOOFABLE = ["Forwarded", "X-Real-Ip", "X-Forwarded-*", "X_Forwarded_*"]
"""Dropped from what clients send; Caddy then sets X-Forwarded-For, -Host and -Proto. The one with
underscores becomes the same variable in WSGI and CGI."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where Caddy listens and keeps its files."""

    admin_socket: PurePosixPath
    storage: PurePosixPath
    """Certificates, the authority and what to start from."""
    http_port: int
    https_port: int
    listen: tuple[str, ...] = ("127.0.0.1",)
    """Addresses, each for both ports."""

    @property
    def config_file(self) -> PurePosixPath:
        """What Caddy starts from; the launcher writes it at every start."""
        return self.storage / "caddy.json"

    @property
    def table_file(self) -> PurePosixPath:
        """The table that Caddy took last, kept for its next start."""
        return self.storage / "table.json"

    @property
    def authority_file(self) -> PurePosixPath:
        """The local authority's certificate, PEM; exists once Caddy has run."""
        return self.storage / "pki" / "authorities" / "local" / "root.crt"


def render_table(routes: edge.Routes) -> Table:
    """Render what requests are looked up in; its `digest` names the content."""
    table: Table = {
        "hosts": {host.name: [_path(path) for path in host.paths] for host in routes.hosts},
        "pools": {pool.name: list(pool.addresses) for pool in routes.pools},
    }
    return {**table, "digest": _digest(table)}


def render(settings: Settings, table: Table | None = None) -> Config:
    """Render the whole configuration.

    Without a table Caddy keeps the one it has; one that just started tells clients to come back.
    `apps.bex.config` in it names the configuration; the table does not count.
    """
    config = _config(settings)
    config["apps"]["bex"] = {"config": _digest(config)}
    if table is not None:
        config["apps"]["bex"]["table"] = table
    return config


def digest_of(config: Config) -> str:
    """Return the name of a rendered configuration."""
    return str(config["apps"]["bex"]["config"])


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _path(path: edge.Path) -> Config:
    return {
        "path": path.path,
        "exact": path.is_exact,
        "pool": path.pool,
        "speaks": path.speaks,
    }


def _config(settings: Settings) -> Config:
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
                "certificates": {"automate": [FALLBACK_NAME]},
                "automation": {"policies": [{"issuers": [{"module": "internal"}]}]},
            },
            "http": {
                # Caddy leaves TLS away from listeners on this port: one server has both.
                "http_port": settings.http_port,
                "https_port": settings.https_port,
                "grace_period": f"{GRACE_SECONDS}s",
                "servers": {
                    "edge": {
                        "listen": [_join(each, port) for port in ports for each in settings.listen],
                        **_SERVER,
                        "routes": _routes(),
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
    "tls_connection_policies": [{"default_sni": FALLBACK_NAME, "fallback_sni": FALLBACK_NAME}],
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


def _routes() -> list[Config]:
    return [
        {
            "handle": [
                {"handler": "headers", "request": {"delete": _SPOOFABLE}},
                {"handler": "bex"},
            ]
        },
        *({**_on(speaks), "handle": [_proxy(speaks)]} for speaks in get_args(edge.Speaks)),
        *({**_on(outcome), "handle": [page]} for outcome, page in _PAGES.items()),
    ]


_PAGES = {
    "starting": edge_pages.STARTING,
    "unknown_host": edge_pages.UNKNOWN_HOST,
    "unknown_path": edge_pages.UNKNOWN_PATH,
    "no_pod": edge_pages.NO_POD,
}
"""By what the `bex` handler says of a request that no pod gets."""


def _on(outcome: str) -> Config:
    return {"match": [{"vars": {"bex": [outcome]}}], "terminal": True}


def _proxy(speaks: edge.Speaks) -> Config:
    # Responses without a length, event streams among them, are flushed as they come; a negative
    # flush_interval for all would also keep requests running whose client has left.
    transport: Config = {
        "protocol": "http",
        "dial_timeout": DIAL_TIMEOUT,
        "compression": False,
        "keep_alive": {"idle_timeout": IDLE_UPSTREAM_TIMEOUT},
    }
    if speaks == "h2c":
        transport["versions"] = ["h2c", "2"]
    return {
        "handler": "reverse_proxy",
        "dynamic_upstreams": {"source": "bex"},
        "load_balancing": {
            "selection_policy": {"policy": "least_conn"},
            "try_duration": f"{RETRY_SECONDS}s",
            "try_interval": "50ms",
            "retry_match": [{"bex_repeat": {}}],
        },
        "stream_close_delay": f"{STREAM_CLOSE_SECONDS}s",
        "transport": transport,
    }
