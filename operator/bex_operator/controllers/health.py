"""Answers /healthz, /readyz and /metrics of a process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_REQUEST_BYTES = 8192
_REQUEST_SECONDS = 10.0
_BAD = (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError)
"""What a request that is none, or is never finished, ends in."""

Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""


@contextlib.asynccontextmanager
async def serve(
    address: str,
    port: int,
    *,
    ready: Callable[[], bool],
    otherwise: str,
    metrics: Callable[[], bytes],
) -> AsyncIterator[int]:
    """Serve while the block runs; yields the port, which is chosen by the system for 0.

    *ready* says whether everything is known that decisions rest on, *otherwise* what is missing;
    *metrics* renders the counters in Prometheus' text format.
    """

    def readyz() -> Answer:
        if ready():
            return HTTPStatus.OK, _TEXT, b"ok\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, f"{otherwise}\n".encode()

    pages: dict[str, Callable[[], Answer]] = {
        "/healthz": lambda: (HTTPStatus.OK, _TEXT, b"ok\n"),
        "/readyz": readyz,
        "/metrics": lambda: (HTTPStatus.OK, _METRICS, metrics()),
    }

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(*_BAD):
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_written(head, pages))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, address, port, limit=_REQUEST_BYTES)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _written(head: bytes, pages: dict[str, Callable[[], Answer]]) -> bytes:
    """Answer one request; every connection carries one."""
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    page = pages.get(target.partition("?")[0])
    if page is None:
        status, content_type, body = HTTPStatus.NOT_FOUND, _TEXT, b"not found\n"
    elif method not in {"GET", "HEAD"}:
        status, content_type, body = HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"only GET\n"
    else:
        status, content_type, body = page()
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    written = "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
    return written if method == "HEAD" else written + body
