"""Answers /healthz, /readyz and /metrics."""

import contextlib
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from bex_operator.controllers import metrics


@contextlib.asynccontextmanager
async def serve(
    address: str,
    port: int,
    *,
    ready: Callable[[], bool],
    refresh: Callable[[], None],
    counted: metrics.Metrics,
) -> AsyncIterator[int]:
    """Serve while the block runs; yields the port, which is chosen by the system for 0.

    *ready* says whether everything is known that decisions rest on; *refresh* sets the gauges.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if ready():
            return web.Response(text="ok\n")
        return web.Response(text="the caches are not filled yet\n", status=503)

    async def text(_: web.Request) -> web.Response:
        refresh()
        return web.Response(
            body=counted.text(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

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
