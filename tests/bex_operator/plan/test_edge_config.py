"""What Caddy is given."""

import json
from pathlib import PurePosixPath
from typing import Any

import pytest

from bex_operator.plan import edge, edge_config

SETTINGS = edge_config.Settings(
    admin_socket=PurePosixPath("/run/bex/caddy.sock"),
    storage=PurePosixPath("/var/lib/bex/edge"),
    http_port=8080,
    https_port=8443,
    listen=("127.0.0.1", "::1"),
)
POOL = "bex-apps/hello:80"
ROUTES = edge.Routes(
    hosts=(
        edge.Host(
            "hello.localhost",
            (edge.Path("/rpc", True, "bex-apps/rpc:90", "h2c"), edge.Path("/", False, POOL)),
        ),
    ),
    pools=(edge.Pool("bex-apps/rpc:90", ()), edge.Pool(POOL, ("10.244.1.2:8080",))),
)


def page(status: int | str, body: str, retry_after: str | None = None) -> dict[str, Any]:
    """Say what a page is as a handler."""
    headers = {
        "Cache-Control": ["no-store"],
        "Content-Type": ["text/plain; charset=utf-8"],
        "X-Content-Type-Options": ["nosniff"],
    }
    if retry_after:
        headers["Retry-After"] = [retry_after]
    return {"handler": "static_response", "status_code": status, "headers": headers, "body": body}


NO_POD = page(
    503,
    "503 Service Unavailable\n\n{http.request.host} has no pod that is ready. "
    "Try again in 5 seconds.\n",
    "5",
)


def proxy(**transport: Any) -> dict[str, Any]:
    """Say what the proxy is as a handler."""
    return {
        "handler": "reverse_proxy",
        "dynamic_upstreams": {"source": "bex"},
        "load_balancing": {
            "selection_policy": {"policy": "least_conn"},
            "try_duration": "5s",
            "try_interval": "50ms",
            "retry_match": [{"bex_repeat": {}}],
        },
        "stream_close_delay": "86400s",
        "transport": {
            "protocol": "http",
            "dial_timeout": "1s",
            "compression": False,
            "keep_alive": {"idle_timeout": "1500ms"},
            **transport,
        },
    }


def on(outcome: str, handler: dict[str, Any]) -> dict[str, Any]:
    """Say what happens on an outcome of the lookup, as a route."""
    return {"match": [{"vars": {"bex": [outcome]}}], "handle": [handler], "terminal": True}


SERVER = {
    "listen": ["127.0.0.1:8080", "[::1]:8080", "127.0.0.1:8443", "[::1]:8443"],
    "protocols": ["h1", "h2", "h2c"],
    "read_header_timeout": "10s",
    "idle_timeout": "2m",
    "max_header_bytes": 65536,
    "automatic_https": {"disable": True},
    "tls_connection_policies": [{"default_sni": "localhost", "fallback_sni": "localhost"}],
    "logs": {},
    "routes": [
        {
            "handle": [
                {
                    "handler": "headers",
                    "request": {
                        "delete": ["Forwarded", "X-Real-Ip", "X-Forwarded-*", "X_Forwarded_*"]
                    },
                },
                {"handler": "bex"},
            ]
        },
        on("http", proxy()),
        on("h2c", proxy(versions=["h2c", "2"])),
        on(
            "starting",
            page(
                503,
                "503 Service Unavailable\n\nThe edge is starting and knows no app yet.\n",
                "1",
            ),
        ),
        on(
            "unknown_host",
            page(404, "404 Not Found\n\nNo app answers for {http.request.host} here.\n"),
        ),
        on(
            "unknown_path",
            page(404, "404 Not Found\n\n{http.request.host} has nothing at this path.\n"),
        ),
        on("no_pod", NO_POD),
    ],
    "errors": {
        "routes": [
            {
                "match": [{"vars": {"{http.error.status_code}": ["503"]}}],
                "handle": [NO_POD],
                "terminal": True,
            },
            {
                "handle": [
                    page(
                        "{http.error.status_code}",
                        "{http.error.status_code} {http.error.status_text}\n\n"
                        "The app at {http.request.host} did not answer this request.\n",
                    )
                ]
            },
        ]
    },
}


def test_table_holds_hosts_paths_and_pods() -> None:
    """The table is what requests are looked up in."""
    table = edge_config.render_table(ROUTES)

    assert len(table.pop("digest")) == 64
    assert table == {
        "hosts": {
            "hello.localhost": [
                {"path": "/rpc", "exact": True, "pool": "bex-apps/rpc:90", "speaks": "h2c"},
                {"path": "/", "exact": False, "pool": POOL, "speaks": "http"},
            ]
        },
        "pools": {"bex-apps/rpc:90": [], POOL: ["10.244.1.2:8080"]},
    }


def test_configuration_is_one_server_with_a_local_authority() -> None:
    """The whole of it, logging apart: one server, nothing derived, no trust store, no TCP admin."""
    table = edge_config.render_table(ROUTES)
    config = edge_config.render(SETTINGS, table)
    digest = edge_config.digest_of(config)

    assert {key: value for key, value in config.items() if key != "logging"} == {
        "admin": {"listen": "unix//run/bex/caddy.sock|0600", "config": {"persist": False}},
        "storage": {"module": "file_system", "root": "/var/lib/bex/edge"},
        "apps": {
            "bex": {"config": digest, "table": table},
            "pki": {
                "certificate_authorities": {
                    "local": {
                        "name": "bex edge",
                        "root_common_name": "bex edge local authority",
                        "install_trust": False,
                    }
                }
            },
            "tls": {
                "certificates": {"automate": ["localhost"]},
                "automation": {"policies": [{"issuers": [{"module": "internal"}]}]},
            },
            "http": {
                "http_port": 8080,
                "https_port": 8443,
                "grace_period": "5s",
                "servers": {"edge": SERVER},
            },
        },
    }


def test_every_log_leaves_secrets_out() -> None:
    """No log that can hold a request has its headers or its query."""
    logs = edge_config.render(SETTINGS)["logging"]["logs"]
    requests = [log for name, log in logs.items() if name != "admin"]

    for log in requests:
        fields = log["encoder"]["fields"]
        assert fields["request>headers"] == fields["resp_headers"] == {"filter": "delete"}
        assert fields["request>uri"]["regexp"] == r"\?.*"
    assert logs["admin"]["include"] == ["admin.api"]
    assert {name for name, log in logs.items() if "http.log.access" in log.get("include", [])} == {
        "access"
    }


def test_digests_follow_what_they_name() -> None:
    """Routes change the table's digest only, settings the configuration's only."""
    other = edge_config.Settings(SETTINGS.admin_socket, SETTINGS.storage, 80, 443)
    tables = [edge_config.render_table(routes) for routes in (ROUTES, ROUTES, edge.Routes())]
    configs = [
        edge_config.render(SETTINGS),
        edge_config.render(SETTINGS, tables[0]),
        edge_config.render(other),
    ]

    digests = [edge_config.digest_of(config) for config in configs]
    assert digests[0] == digests[1] != digests[2]
    assert tables[0]["digest"] == tables[1]["digest"] != tables[2]["digest"]


@pytest.mark.parametrize("with_table", [False, True], ids=["without-table", "with-table"])
def test_trust_stores_are_never_installed_into(with_table: bool) -> None:
    """No rendered configuration lets Caddy touch a trust store."""
    table = edge_config.render_table(ROUTES) if with_table else None

    text = json.dumps(edge_config.render(SETTINGS, table))

    assert text.count('"install_trust": false') == 1
    assert '"install_trust": true' not in text


def test_files_lie_in_the_storage() -> None:
    """The authority's file is where Caddy's file system storage puts it."""
    assert SETTINGS.authority_file == PurePosixPath(
        "/var/lib/bex/edge/pki/authorities/local/root.crt"
    )
    assert SETTINGS.config_file.parent == SETTINGS.table_file.parent == SETTINGS.storage
