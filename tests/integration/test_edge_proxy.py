"""What the edge's configuration makes a real Caddy do."""

import asyncio
import json

import aiohttp

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


async def test_edge_says_it_is_starting_before_it_knows_routes(proxy: Proxy) -> None:
    """From the bootstrap configuration any host gets 503 and a time to come back."""
    status, body, retry_after = await proxy.get("hello.localhost")

    assert (status, retry_after) == (503, "1")
    assert "starting" in body


async def test_request_reaches_every_pod(proxy: Proxy, pods: tuple[Pod, Pod]) -> None:
    """Requests for a host are spread over its pods."""
    await proxy.serve(HELLO, pools={POOL: [pod.endpoint for pod in pods]})

    answers = [await proxy.get("hello.localhost") for _ in range(20)]

    assert {status for status, _, _ in answers} == {200}
    assert {body for _, body, _ in answers} == {"one", "two"}


async def test_host_is_compared_without_case_port_and_root_dot(
    proxy: Proxy, pods: tuple[Pod, Pod]
) -> None:
    """All the ways to write a host are the host."""
    await proxy.serve(HELLO, pools={POOL: [pods[0].endpoint]})
    spellings = ["HELLO.localhost", "hello.localhost.", "Hello.LocalHost.:8080"]

    statuses = [(await proxy.get(spelling))[0] for spelling in spellings]

    assert statuses == [200, 200, 200]


async def test_wildcard_answers_for_one_label_without_a_host_of_its_own(
    proxy: Proxy, pods: tuple[Pod, Pod]
) -> None:
    """The exact host goes first; neither the parent nor two labels are covered."""
    everything = edge.Host("*.a.localhost", (edge.Path("/", False, "b:80"),))
    own = edge.Host("own.a.localhost", (edge.Path("/", False, "a:80"),))
    pools = {"a:80": [pods[0].endpoint], "b:80": [pods[1].endpoint]}
    await proxy.serve(own, everything, pools=pools)

    hosts = ["own.a.localhost", "Any.a.localhost.", "a.localhost", "x.own.a.localhost"]
    answers = [(await proxy.get(host))[:2] for host in hosts]

    assert answers[:2] == [(200, "one"), (200, "two")]
    assert [status for status, _ in answers[2:]] == [404, 404]


async def test_unknown_host_gets_a_page_that_names_it(proxy: Proxy) -> None:
    """A host without a route is a plain 404."""
    await proxy.serve(HELLO, pools={POOL: []})

    status, body, retry_after = await proxy.get("other.localhost", "/a?b=<script>")

    assert (status, retry_after) == (404, None)
    assert "other.localhost" in body
    assert "script" not in body


async def test_host_without_ready_pod_asks_to_come_back(proxy: Proxy) -> None:
    """A known host whose pool is empty is a 503 with Retry-After."""
    await proxy.serve(HELLO, pools={POOL: []})

    status, body, retry_after = await proxy.get("hello.localhost")

    assert (status, retry_after) == (503, "5")
    assert "hello.localhost" in body


async def test_paths_choose_the_pool(proxy: Proxy, pods: tuple[Pod, Pod]) -> None:
    """Exact before prefix, whole path elements, case counts, the rest is 404."""
    paths = (
        edge.Path("/only", True, "a/one:80"),
        edge.Path("/api", False, "a/two:80"),
    )
    pools = {"a/one:80": [pods[0].endpoint], "a/two:80": [pods[1].endpoint]}
    await proxy.serve(edge.Host("hello.localhost", paths), pools=pools)
    asked = ["/only", "/only/x", "/api", "/api/x", "/apis", "/API", "/x/../api/y"]

    answers = [await proxy.get("hello.localhost", path) for path in asked]

    found = [body if status == 200 else status for status, body, _ in answers]
    assert found == ["one", 404, "two", "two", 404, 404, "two"]


async def test_forwarded_headers_of_clients_are_dropped(
    proxy: Proxy, pods: tuple[Pod, Pod]
) -> None:
    """An app is told the truth about its client, whatever the client claims."""
    await proxy.serve(HELLO, pools={POOL: [pods[0].endpoint]})
    claims = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "bank.example",
        "X-Forwarded-Prefix": "/admin",
        "X-Real-IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
        "X_Forwarded_For": "203.0.113.9",
    }

    await proxy.get("hello.localhost", "/", **claims)

    seen = pods[0].headers[-1]
    assert "203.0.113.9" not in json.dumps(seen)
    assert "/admin" not in json.dumps(seen)
    assert (seen["X-Forwarded-For"], seen["X-Forwarded-Proto"]) == ("127.0.0.1", "http")
    assert (seen["Host"], seen["X-Forwarded-Host"]) == ("hello.localhost", "hello.localhost")


async def test_https_has_a_certificate_of_the_local_authority(
    proxy: Proxy, pods: tuple[Pod, Pod]
) -> None:
    """A routed host answers over HTTP/2 to a client that trusts the authority's file alone."""
    await proxy.serve(HELLO, pools={POOL: [pods[0].endpoint]})
    report = ("--http2", "--write-out", " %{http_version} %{http_code}")

    async def is_certified() -> bool:
        return await proxy.curl("hello.localhost", "/", *report) == "one 2 200"

    await until(is_certified, "hello.localhost answers over https")


async def test_unknown_host_gets_its_page_over_https_too(proxy: Proxy) -> None:
    """Who looks past the certificate of an unrouted host sees the 404 page."""
    await proxy.serve(HELLO, pools={POOL: []})

    async def is_told() -> bool:
        told = await proxy.curl("other.example", "/", "--insecure", "--write-out", "%{http_code}")
        return told.endswith("404") and "other.example" in told

    await until(is_told, "other.example gets its page over https")


async def test_http_is_not_redirected(proxy: Proxy, pods: tuple[Pod, Pod]) -> None:
    """Plain http is served, also over HTTP/2 with prior knowledge."""
    await proxy.serve(HELLO, pools={POOL: [pods[0].endpoint]})
    command = [
        *("curl", "--silent", "--noproxy", "*", "--http2-prior-knowledge"),
        *("--header", "Host: hello.localhost", "--write-out", " %{http_version}", proxy.url),
    ]

    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()

    assert output.decode() == "one 2"


async def test_websocket_survives_changes_of_pods_and_routes(
    proxy: Proxy, pods: tuple[Pod, Pod]
) -> None:
    """An upgraded connection goes on over pool updates and reloads."""
    one, two = pods
    await proxy.serve(HELLO, pools={POOL: [one.endpoint]})
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{proxy.url}/echo", headers={"Host": "hello.localhost"}) as socket,
    ):
        await socket.send_str("before")
        before = await socket.receive_str(timeout=60)
        await proxy.serve(edge.Host("other.localhost", HELLO.paths), pools={POOL: [two.endpoint]})
        async with proxy.client() as client:
            await client.load(edge_config.render(proxy.settings) | {"logging": {}})
        await socket.send_str("after")
        after = await socket.receive_str(timeout=60)

    assert (before, after) == ("one: before", "one: after")


async def test_events_arrive_as_they_are_sent_and_over_a_reload(
    proxy: Proxy, pods: tuple[Pod, Pod]
) -> None:
    """Server-sent events are not held back, and a reload does not end them."""
    await proxy.serve(HELLO, pools={POOL: [pods[0].endpoint]})
    arrived: list[bytes] = []
    async with (
        asyncio.timeout(60),
        aiohttp.ClientSession() as session,
        session.get(f"{proxy.url}/events", headers={"Host": "hello.localhost"}) as answer,
    ):
        for number in range(30):
            pods[0].events.release()  # the next is sent only now that all before have arrived
            arrived.append(await answer.content.readline())
            await answer.content.readline()
            if number == 10:
                async with proxy.client() as client:
                    await client.load(edge_config.render(proxy.settings) | {"logging": {}})

    assert arrived == [f"data: {number}\n".encode() for number in range(30)]


async def test_dead_pod_costs_no_request(proxy: Proxy, pods: tuple[Pod, Pod]) -> None:
    """While a pool still names a pod that died, the others answer for it; no request fails."""
    one, two = pods
    await proxy.serve(HELLO, pools={POOL: [pod.endpoint for pod in pods]})
    await one.stop()

    answers = [await proxy.get("hello.localhost") for _ in range(30)]

    assert {(status, body) for status, body, _ in answers} == {(200, "two")}
    assert two.requests == 30


async def test_request_waits_for_the_pod_that_replaces_a_dead_one(
    proxy: Proxy, pods: tuple[Pod, Pod]
) -> None:
    """A request that found its only pod dead is answered by the pod that comes next."""
    one, two = pods
    await proxy.serve(HELLO, pools={POOL: [one.endpoint]})
    await one.stop()

    waiting = asyncio.create_task(proxy.get("hello.localhost"))
    await asyncio.sleep(0.5)
    await proxy.serve(HELLO, pools={POOL: [two.endpoint]})
    status, body, _ = await waiting

    assert (status, body) == (200, "two")


async def test_request_that_breaks_its_pod_is_sent_thrice_at_most(
    proxy: Proxy, pods: tuple[Pod, Pod]
) -> None:
    """A request that a pod answers by hanging up fails soon, and fails nobody else's."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    fragile = edge.Host("fragile.localhost", (edge.Path("/", False, "a/fragile:80"),))
    pools = {
        POOL: [pods[0].endpoint],
        "a/fragile:80": [f"127.0.0.1:{server.sockets[0].getsockname()[1]}"],
    }
    await proxy.serve(HELLO, fragile, pools=pools)
    async with asyncio.timeout(60):
        status, body, _ = await proxy.get("fragile.localhost")
    server.close()

    assert (status, len(seen)) == (502, 3)
    assert "fragile.localhost did not answer" in body
    assert (await proxy.get("hello.localhost"))[0] == 200


async def test_broken_off_uploads_take_no_pod_out(proxy: Proxy, pods: tuple[Pod, Pod]) -> None:
    """A client that breaks off its uploads makes no pod look dead."""
    await proxy.serve(HELLO, pools={POOL: [pod.endpoint for pod in pods]})
    for _ in range(6):
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.settings.http_port)
        writer.write(b"POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 9999\r\n\r\nx")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()

    answers = [await proxy.get("hello.localhost") for _ in range(20)]

    assert {body for _, body, _ in answers} == {"one", "two"}


async def test_access_log_holds_no_query_and_no_headers(
    proxy: Proxy, pods: tuple[Pod, Pod]
) -> None:
    """What may be secret in a request stays out of the log; the rest is there."""
    await proxy.serve(HELLO, pools={POOL: [pods[0].endpoint]})
    await proxy.get("hello.localhost", "/page?token=hush", Authorization="Bearer hush")
    await pods[0].stop()
    async with aiohttp.ClientSession() as session:
        url = f"{proxy.url}/gone?token=hush"
        headers = {"Host": "hello.localhost", "Cookie": "id=hush"}
        async with session.post(url, headers=headers, data=b"x") as answer:
            assert answer.status == 502

    def logged() -> list[str]:
        whole = proxy.log[: proxy.log.rfind("\n") + 1]
        return [line for line in whole.splitlines() if "http.log.access" in line]

    async def is_logged() -> bool:
        return all(any(path in line for line in logged()) for path in ("/page", "/gone"))

    await until(is_logged, "both requests are in the log")
    lines = [json.loads(line) for line in logged()]
    asked = [line["request"] for line in lines if line["request"]["host"] == "hello.localhost"]
    assert {request["uri"] for request in asked} == {"/page", "/gone"}
    assert "hush" not in proxy.log
