"""Entry point of the feeder: keeps Caddy's routes and pods as the cluster's Ingresses want them.

Level-triggered: after every change, and once a second, it compares digests with Caddy and sends
what differs: the table of hosts, paths and pods, hardly ever the configuration (settings changed).
What Caddy took is kept in `<storage>/table.json`, which Caddy starts from; to go on serving it
needs neither feeder nor API server. The supervisor runs both, in any order:

    python -m bex_operator caddy --caddy BINARY --admin-socket S --storage DIR \\
        --http-port 8080 --https-port 8443 --listen 127.0.0.1
    python -m bex_operator edge --kubeconfig F --health-port N --admin-socket S --storage DIR \\
        --http-port 8080 --https-port 8443 --listen 127.0.0.1
"""

import argparse
import asyncio
import contextlib
import json
import signal
import time
from pathlib import Path

import structlog

from bex_operator.caddy import client as caddy
from bex_operator.caddy import errors as caddy_errors
from bex_operator.controllers import (
    edge_arguments,
    edge_files,
    edge_health,
    edge_objects,
    health,
)
from bex_operator.kube import client as kube
from bex_operator.kube import kinds
from bex_operator.plan import edge, edge_config

DEBOUNCE_SECONDS = 0.05
"""Changes come in groups: a rollout touches Service, slices and Ingress together."""

CHECK_SECONDS = 1.0
"""How often Caddy is asked whether it still holds what it was sent."""

RETRY_SECONDS = 0.2

REFUSED_SECONDS = 30.0
"""Before a configuration that Caddy refused is sent again unchanged."""

_log = structlog.get_logger(__name__)


class Feeder:
    """Observe, decide, compare, send."""

    def __init__(
        self,
        objects: edge_objects.Objects,
        client: caddy.Client,
        settings: edge_config.Settings,
        health: edge_health.Health,
    ) -> None:
        self._objects = objects
        self._client = client
        self._settings = settings
        self._health = health
        self._config = edge_config.render(settings)
        self._digest = edge_config.digest_of(self._config)
        self._table: edge_config.Table | None = None
        self._refusals: tuple[edge.Refusal, ...] = ()
        self._refused_at: float | None = None
        self._kept = ""
        self._was_reachable = True

    async def feed(self) -> None:
        """Keep Caddy up to date until cancelled."""
        while True:
            if self._objects.changed.is_set():
                await asyncio.sleep(DEBOUNCE_SECONDS)
                self._objects.changed.clear()
                self._decide()
            is_done = await self.reconcile()
            delay = CHECK_SECONDS if is_done else RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._objects.changed.wait()

    async def reconcile(self) -> bool:
        """Send what differs; False if Caddy could not be asked."""
        if self._table is None:
            return True
        try:
            await self._send_differences(self._table)
        except caddy_errors.Unavailable as exc:
            if self._was_reachable:
                _log.warning("caddy is away", error=str(exc))
            self._was_reachable = False
            self._refused_at = None
            self._health.lost()
            return False
        except caddy_errors.Refused as exc:
            _log.error("caddy refused", error=str(exc))
            self._health.failed()
            return True
        self._was_reachable = True
        await self._keep(self._table)
        return True

    def _decide(self) -> None:
        if not self._objects.are_complete:
            return
        routes = edge.plan(
            self._objects.of(kinds.INGRESS),
            self._objects.of(kinds.SERVICE),
            self._objects.of(kinds.ENDPOINT_SLICE),
        )
        self._table = edge_config.render_table(routes)
        self._health.decided(routes)
        for refusal in routes.refusals:
            if refusal not in self._refusals:
                _log.warning(
                    "host gets no route",
                    ingress=refusal.ingress,
                    host=refusal.host,
                    reason=refusal.reason,
                )
        self._refusals = routes.refusals

    async def _send_differences(self, table: edge_config.Table) -> None:
        held = await self._client.state()
        if held.config != self._digest and self._may_load():
            await self._load()
        if held.table != table["digest"]:
            await self._client.replace_table(table)
            self._health.replaced()
        self._health.in_step(is_whole=self._refused_at is None)

    def _may_load(self) -> bool:
        now = time.monotonic()
        return self._refused_at is None or now - self._refused_at > REFUSED_SECONDS

    async def _load(self) -> None:
        started = time.monotonic()
        try:
            await self._client.load(self._config)
        except caddy_errors.Refused as exc:
            # No reason to stop: the configuration that Caddy does hold can have the new table.
            self._refused_at = started
            self._health.failed()
            _log.error("caddy refused the configuration", error=str(exc))
            return
        self._refused_at = None
        seconds = time.monotonic() - started
        self._health.loaded(seconds)
        _log.info("configuration loaded", seconds=round(seconds, 3))

    async def _keep(self, table: edge_config.Table) -> None:
        if self._kept == table["digest"]:
            return
        path = Path(self._settings.table_file)
        try:
            await asyncio.to_thread(edge_files.write, path, json.dumps(table))
        except OSError as exc:
            # Serving matters more than what a restart would begin with; tried again in a second.
            _log.error("cannot keep the table", path=str(path), error=str(exc))
        else:
            self._kept = table["digest"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the feeder's arguments."""
    parser.add_argument("--kubeconfig", type=Path, required=True, metavar="FILE")
    parser.add_argument("--health-port", type=int, default=0, help="0: no health endpoint")
    parser.add_argument("--health-address", default="127.0.0.1")
    edge_arguments.add_arguments(parser)


async def run(args: argparse.Namespace) -> None:
    """Feed Caddy until SIGTERM or SIGINT; Caddy goes on serving afterwards."""
    settings = edge_arguments.settings(args)
    counted = edge_health.Health()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(
            kube.Client.from_kubeconfig(args.kubeconfig, user_agent="bex-edge")
        )
        client = await stack.enter_async_context(caddy.Client(settings.admin_socket))
        if args.health_port:
            await stack.enter_async_context(
                health.serve(
                    args.health_address,
                    args.health_port,
                    ready=lambda: counted.is_ready,
                    otherwise="caddy does not hold the cluster's routes yet",
                    metrics=counted.text,
                )
            )
        objects = edge_objects.Objects(cluster)
        feeder = Feeder(objects, client, settings, counted)
        async with asyncio.TaskGroup() as tasks:
            working = [
                tasks.create_task(objects.follow(), name="follow the cluster"),
                tasks.create_task(feeder.feed(), name="feed caddy"),
            ]
            await stop.wait()
            for task in working:
                task.cancel()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
