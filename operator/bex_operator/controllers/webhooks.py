"""Takes webhooks of git servers, on a port of its own, and notes on the App that one came.

Every operator takes them, whichever leads: the note is what the leading one sees.
"""

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator

import structlog
from aiohttp import web

from bex_operator.api import names
from bex_operator.controllers import children
from bex_operator.kube import caches, errors, kinds
from bex_operator.plan import artefacts, builds, webhooks

BODY_SECONDS = 10.0
"""How long a delivery may take to arrive."""
FIELD_MANAGER = f"{names.MANAGED_BY}-webhook"
_NOBODY = "no such app"
_log = structlog.get_logger(__name__)


class Receiver:
    """Answers deliveries; `handler` is what a server serves."""

    def __init__(self, apps: caches.Cache, writer: children.Writer, key: bytes) -> None:
        self._apps = apps
        self._writer = writer
        self._key = key

    def application(self) -> web.Application:
        """Return what to serve: one path for each App, and a bounded body."""
        made = web.Application(client_max_size=webhooks.MAX_BODY_BYTES)
        made.add_routes([web.post(webhooks.path_of("{namespace}", "{name}"), self._take)])
        return made

    async def _take(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.read()
        except TimeoutError:
            return web.Response(status=408, text="the body did not come\n")
        manifest = self._apps.get(namespace, name)
        # An App that is not there is answered like a wrong signature, after the same work.
        uid = manifest["metadata"]["uid"] if manifest is not None else _NOBODY
        verdict = webhooks.judge(
            request.headers, body, webhooks.secret_of(self._key, uid), _ref_of(manifest)
        )
        if verdict.asks and manifest is not None:
            try:
                await self._note(namespace, name, uid)
            except errors.KubeError:
                return web.Response(status=503, text="try again\n")
        _log.info("webhook.came", namespace=namespace, app=name, status=verdict.status)
        return web.Response(status=verdict.status, text=f"{verdict.words}\n")

    async def _note(self, namespace: str, name: str, uid: str) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        self._writer.count("patch", "App")
        # Not put into the cache: what the watch tells of wakes the App, own writes do not.
        await self._writer.kube.patch(
            kinds.APP,
            name,
            namespace,
            {"metadata": {"uid": uid, "annotations": {names.PUSHED_ANNOTATION: now}}},
            field_manager=FIELD_MANAGER,
        )


def _ref_of(manifest: dict[str, object] | None) -> str:
    """Return the branch or tag that an App follows."""
    if manifest is None:
        return ""
    spec = manifest.get("spec")
    branch = spec.get("branch") if isinstance(spec, dict) else None
    return builds.read_request(manifest).ref or str(branch or artefacts.DEFAULT_BRANCH)


@contextlib.asynccontextmanager
async def serve(receiver: Receiver | None, address: str, port: int) -> AsyncIterator[int]:
    """Serve while the block runs, unless the port is 0; yields the port."""
    if receiver is None or not port:
        yield 0
        return
    runner = web.AppRunner(receiver.application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
