"""Connections to servers that answer in every way there is, and in some that they should not."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bex_operator.kube import connections

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = connections.Request("GET", "/", b"")
POST = connections.Request("POST", "/", b"", b"{}")
SECONDS = 60.0


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[connections.Pool]:
    """A pool of connections to a server that treats each connection with *serve*."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=2**26)
    async with server:
        port = server.sockets[0].getsockname()[1]
        pool = connections.Pool(f"http://127.0.0.1:{port}/base", None)
        try:
            yield pool
        finally:
            await pool.close()


async def head_of(reader: asyncio.StreamReader) -> bytes:
    """The next request up to its body."""
    return await reader.readuntil(b"\r\n\r\n")


def answering(*answers: bytes) -> Serve:
    """Give each connection these answers, one for each request, and end it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await head_of(reader)
            writer.write(answer)
            await writer.drain()

    return serve


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (OK, b"ok"),
        (CHUNKED + b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n", b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok"),
    ],
    ids=["length", "chunks", "until the end", "nothing", "after a hint"],
)
async def test_answer_is_read_to_its_end(raw: bytes, body: bytes) -> None:
    """However its end is told."""
    async with served(answering(raw)) as pool:
        answer = await pool.exchange(GET, SECONDS)

    assert answer.body == body


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", connections.Broken),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", connections.Broken),
        (CHUNKED + b"5\r\nok", connections.Broken),
        (CHUNKED + b"x\r\nok", connections.Garbled),
        (b"SSH-2.0-OpenSSH\r\n\r\n", connections.Garbled),
    ],
    ids=["nothing", "short", "chunk cut off", "no chunk", "no HTTP"],
)
async def test_answer_that_is_none_is_an_error(raw: bytes, error: type[Exception]) -> None:
    """What is cut off is never taken for whole."""
    async with served(answering(raw)) as pool:
        with pytest.raises(error):
            await pool.exchange(GET, SECONDS)


async def test_connection_carries_one_request_after_the_other() -> None:
    """It is opened once, and its requests name host and path."""
    heads: list[bytes] = []
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        for _ in range(3):
            heads.append(await head_of(reader))
            writer.write(OK)

    async with served(serve) as pool:
        for _ in range(3):
            await pool.exchange(GET, SECONDS)

    assert opened == 1
    assert {head.split(b"\r\n")[0] for head in heads} == {b"GET /base/ HTTP/1.1"}


async def test_dead_connection_is_replaced_for_what_may_be_sent_twice() -> None:
    """A read is sent anew; a write is not: nobody knows what became of the first."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(OK)
        await head_of(reader)
        ended.set()

    async with served(serve) as pool:
        await pool.exchange(GET, SECONDS)
        again = await pool.exchange(GET, SECONDS)
        with pytest.raises(connections.Broken):
            await pool.exchange(POST, SECONDS)

    assert again.body == b"ok"
    assert ended.is_set()


async def test_answer_nobody_asked_for_spoils_the_connection() -> None:
    """It must not be taken for the answer to the next request."""
    async with served(answering(OK + OK)) as pool:
        first = await pool.exchange(GET, SECONDS)
        second = await pool.exchange(GET, SECONDS)

    assert (first.status, second.status) == (200, 200)


async def test_abandoned_request_takes_its_connection_along() -> None:
    """Its answer must not meet the next request."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await head_of(reader)
        if b"/slow" in head:
            asked.set()
            await go_on.wait()
        writer.write(OK if b"/slow" not in head else OK.replace(b"ok", b"no"))

    async with served(serve) as pool:
        slow = connections.Request("GET", "/slow", b"")
        abandoned = asyncio.create_task(pool.exchange(slow, SECONDS))
        await asked.wait()
        abandoned.cancel()
        await asyncio.gather(abandoned, return_exceptions=True)
        go_on.set()
        answer = await pool.exchange(GET, SECONDS)

    assert answer.body == b"ok"


async def test_long_body_arrives_whole() -> None:
    """It is sent piece by piece, as fast as the server takes it."""
    body = bytes(range(256)) * 32768
    arrived = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        await head_of(reader)
        arrived = await reader.readexactly(len(body))
        writer.write(OK)

    async with served(serve) as pool:
        await pool.exchange(connections.Request("POST", "/", b"", body), SECONDS)

    assert arrived == body


async def test_stream_waits_for_its_reader() -> None:
    """Nothing is lost of what came while nobody read."""
    count = 64
    piece = b"%x\r\n" % 2**16 + b"x" * 2**16 + b"\r\n"

    async with (
        served(answering(CHUNKED + piece * count + b"0\r\n\r\n")) as pool,
        pool.stream(GET, SECONDS, SECONDS) as stream,
    ):
        size = 0
        async for each in stream.pieces():
            size += len(each)
            await asyncio.sleep(0)

    assert size == count * 2**16


async def test_silent_server_is_not_waited_for() -> None:
    """Neither for an answer, nor for more of a stream."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await head_of(reader)
        if b"/stream" in head:
            writer.write(CHUNKED)
        await done.wait()

    async with served(serve) as pool:
        with pytest.raises(TimeoutError):
            await pool.exchange(GET, 0.1)
        request = connections.Request("GET", "/stream", b"")
        async with pool.stream(request, SECONDS, 0.1) as stream:
            with pytest.raises(TimeoutError):
                await stream.rest_of_it()
        done.set()


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/\u00fc"])
async def test_address_that_would_be_two_is_refused(target: str) -> None:
    """No name makes another request of it."""
    async with served(answering(OK)) as pool:
        with pytest.raises(ValueError, match="address"):
            await pool.exchange(connections.Request("GET", target, b""), SECONDS)
