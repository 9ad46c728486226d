"""What the edge's Caddy keeps: routes over a kill, its files to itself, the old when it refuses."""

import hashlib
import json
import signal
import stat
from pathlib import Path

import pytest

from bex_operator.caddy import client as caddy
from bex_operator.caddy import errors as caddy_errors
from bex_operator.plan import edge, edge_config
from tests.support.edge_proxy import (
    Pod,
    Proxy,
    caddy_binary,
    pods,
    proxy,
    stopped_proxy,
    until,
)

__all__ = ["caddy_binary", "pods", "proxy", "stopped_proxy"]

POOL = "bex-apps/hello:80"
HELLO = edge.Host("hello.localhost", (edge.Path("/", False, POOL),))


async def test_killed_caddy_comes_back_with_its_routes(proxy: Proxy, pods: tuple[Pod, Pod]) -> None:
    """The table that was kept is served after a kill, without a feeder, over https as well."""
    routes = edge.Routes((HELLO,), (edge.Pool(POOL, (pods[0].endpoint,)),))
    table = edge_config.render_table(routes)
    proxy.keep(json.dumps(table))
    proxy.stop(signal.SIGKILL)

    await proxy.start()

    assert (await proxy.get("hello.localhost"))[:2] == (200, "one")
    await until(lambda: _is_served_over_https(proxy), "it answers over https")
    async with proxy.client() as client:
        config = edge_config.digest_of(edge_config.render(proxy.settings))
        assert await client.state() == caddy.State(config, table["digest"])


@pytest.mark.parametrize(
    "kept",
    ['{"half', "[]", '{"digest": "x", "pools": {"a": ["b"]}}', '{"hosts": 3}', '{"future": {}}'],
    ids=["truncated", "foreign", "bad-address", "bad-type", "unknown-field"],
)
async def test_useless_kept_table_is_left_out(stopped_proxy: Proxy, kept: str) -> None:
    """Caddy comes up and waits for the feeder when it cannot use what was kept."""
    stopped_proxy.keep(kept)

    await stopped_proxy.start()

    assert (await stopped_proxy.get("hello.localhost"))[::2] == (503, "1")


async def test_routes_survive_other_settings(proxy: Proxy, pods: tuple[Pod, Pod]) -> None:
    """A configuration that is loaded anew leaves table and connections as they are."""
    await proxy.serve(HELLO, pools={POOL: [pods[0].endpoint]})
    async with proxy.client() as client:
        await client.load(edge_config.render(proxy.settings) | {"logging": {}})

    assert (await proxy.get("hello.localhost"))[:2] == (200, "one")
    await until(lambda: _is_served_over_https(proxy), "it answers over https")


async def test_files_are_for_their_owner_alone(proxy: Proxy) -> None:
    """Folders are 0700; the socket, keys and the configuration are 0600."""
    await proxy.serve(HELLO, pools={POOL: []})
    await until(proxy.has_authority, "the authority is there")
    folders = [Path(proxy.settings.storage), Path(proxy.settings.admin_socket).parent]
    secrets = proxy.secrets()

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in folders + secrets}

    assert len(secrets) >= 4
    assert {modes[path] for path in folders} == {0o700}
    assert {modes[path] for path in secrets} == {0o600}


async def test_no_trust_store_is_touched(proxy: Proxy) -> None:
    """A local authority that serves certificates changes nothing outside its storage."""
    before = _trust()
    await proxy.serve(HELLO, pools={POOL: []})
    await until(proxy.has_authority, "the authority is there")
    proxy.stop()

    assert _trust() == before
    assert before


async def test_what_is_refused_leaves_the_old_one(proxy: Proxy, pods: tuple[Pod, Pod]) -> None:
    """Caddy says what it does not take, and goes on with what it has."""
    await proxy.serve(HELLO, pools={POOL: [pods[0].endpoint]})
    async with proxy.client() as client:
        broken = edge_config.render(proxy.settings)
        broken["apps"]["http"]["servers"]["edge"]["routes"] = [{"handle": [{"handler": "nothing"}]}]

        with pytest.raises(caddy_errors.Refused, match="nothing"):
            await client.load(broken)
        with pytest.raises(caddy_errors.Refused, match="not an address"):
            await client.replace_table({"pools": {POOL: ["metadata.internal:80"]}})

    assert (await proxy.get("hello.localhost"))[:2] == (200, "one")


async def test_absent_caddy_is_unavailable(stopped_proxy: Proxy) -> None:
    """A socket nobody listens on is said to be that, not an error of the HTTP library."""
    async with stopped_proxy.client() as client:
        with pytest.raises(caddy_errors.Unavailable, match=r"caddy\.sock"):
            await client.state()


async def _is_served_over_https(proxy: Proxy) -> bool:
    return await proxy.curl("hello.localhost") == "one"


def _trust() -> dict[str, str]:
    """Digest every file a system or a user may keep trusted authorities in."""
    folders = [Path("/etc/ssl"), Path("/usr/local/share/ca-certificates"), Path("/etc/pki")]
    folders += [
        Path.home() / ".pki",
        Path.home() / ".local/share/caddy",
        Path.home() / ".config/caddy",
    ]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
