"""Answers /healthz, /readyz and /metrics of a process."""

import contextlib
from collections.abc import AsyncIterator, Callable

from aiohttp import web

_TEXT_FORMAT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


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

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if ready():
            return web.Response(text="ok\n")
        return web.Response(text=f"{otherwise}\n", status=503)

    async def text(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers=_TEXT_FORMAT)

    application = web.Application()
    application.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", text)]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
