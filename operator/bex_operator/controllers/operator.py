"""The operator as a process: caches, workers, health, and an orderly end."""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from bex_operator.api import hosts
from bex_operator.controllers import app, health, metrics, recorder, views
from bex_operator.kube import client, leases
from bex_operator.plan import claims, reports
from bex_operator.registry import resolver

WORKERS = 10
SYNC_SECONDS = 120.0
RESYNC_SECONDS = 600.0
FINISH_SECONDS = 20.0
"""How long work in flight may take after SIGTERM."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the process is told, read once."""

    kubeconfig: Path
    health_address: str
    health_port: int
    namespaces: tuple[str, ...]
    """Namespaces it acts in; all if empty."""
    namespace_labels: str | None
    """Or those with these labels (a label selector)."""
    public_url: str
    """How an App's address is written; `{host}` stands for the host."""
    platform: claims.Platform
    """Which hosts are the platform's to keep and to give."""
    own_secrets: frozenset[str]
    """Names of Secrets that no App may name."""
    registries: Mapping[str, tuple[str, ...]]
    """Where images of a registry are looked up instead, in order."""
    leader_elect: bool
    lease_namespace: str
    identity: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line; every option may also stand in the environment as BEX_…."""
    env = os.environ
    parser.add_argument(
        "--kubeconfig", type=Path, required="KUBECONFIG" not in env, default=env.get("KUBECONFIG")
    )
    parser.add_argument(
        "--health-address", default=env.get("BEX_HEALTH_ADDRESS", "127.0.0.1"), metavar="ADDRESS"
    )
    parser.add_argument(
        "--health-port", type=int, default=int(env.get("BEX_HEALTH_PORT", "8081")), metavar="PORT"
    )
    parser.add_argument(
        "--namespaces",
        default=env.get("BEX_NAMESPACES", ""),
        help="comma-separated; all namespaces without it",
    )
    parser.add_argument(
        "--namespace-labels",
        default=env.get("BEX_NAMESPACE_LABELS", ""),
        help="only namespaces with these labels, like team=a",
    )
    parser.add_argument(
        "--public-url",
        default=env.get("BEX_PUBLIC_URL", "https://{host}"),
        help="how an App's address is written, like http://{host}:8080",
    )
    parser.add_argument(
        "--base-domain",
        type=_base_domain,
        default=env.get("BEX_BASE_DOMAIN", ""),
        help="Apps with `expose: true` get a name under it",
    )
    parser.add_argument(
        "--reserved-hosts",
        type=_reserved_hosts,
        default=env.get("BEX_RESERVED_HOSTS", ""),
        help="hosts that no App may have, comma-separated, like registry.example.com,*.bex.co",
    )
    parser.add_argument(
        "--own-secrets",
        default=env.get("BEX_OWN_SECRETS", ""),
        help="names of Secrets that no App may name, comma-separated, besides the labelled ones",
    )
    parser.add_argument(
        "--registry",
        action="append",
        type=endpoint,
        default=[endpoint(each) for each in env.get("BEX_REGISTRIES", "").split()],
        metavar="HOST=URL[,URL]",
        help="where images named HOST/… are looked up, like registry.example.com=http://10.0.0.5",
    )
    parser.add_argument("--leader-elect", action="store_true")
    parser.add_argument(
        "--identity",
        default=env.get("BEX_IDENTITY", ""),
        help="name in the lease; one that a restart keeps leads again at once",
    )
    parser.add_argument("--lease-namespace", default=env.get("BEX_LEASE_NAMESPACE", "bex-system"))


def endpoint(text: str) -> tuple[str, tuple[str, ...]]:
    """Read `HOST=URL[,URL]`.

    Raises:
        ValueError: it is none.
    """
    host, _, given = text.partition("=")
    urls = tuple(each.rstrip("/") for each in given.split(",") if each)
    if not host or not urls or any(urlsplit(url).scheme not in {"http", "https"} for url in urls):
        raise ValueError(f"{text!r} is not of the form HOST=URL[,URL]")
    return host, urls


def _base_domain(text: str) -> str:
    try:
        return hosts.domain(text) if text else ""
    except ValueError as bad:
        raise argparse.ArgumentTypeError(str(bad)) from bad


def _reserved_hosts(text: str) -> frozenset[str]:
    try:
        return frozenset(hosts.pattern(each) for each in text.split(",") if each)
    except ValueError as bad:
        raise argparse.ArgumentTypeError(str(bad)) from bad


async def run(args: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    settings = Settings(
        kubeconfig=Path(args.kubeconfig),
        health_address=args.health_address,
        health_port=args.health_port,
        namespace_labels=args.namespace_labels or None,
        namespaces=tuple(each for each in args.namespaces.split(",") if each),
        public_url=args.public_url,
        platform=claims.Platform(args.base_domain or None, args.reserved_hosts),
        own_secrets=frozenset(each for each in args.own_secrets.split(",") if each),
        registries=dict(args.registry),
        leader_elect=args.leader_elect,
        lease_namespace=args.lease_namespace,
        identity=args.identity or f"{socket.gethostname()}-{os.getpid()}",
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await operate(settings, stop)


async def operate(settings: Settings, stop: asyncio.Event) -> None:
    """Run until *stop* is set."""
    counted = metrics.Metrics()
    async with (
        client.Client.from_kubeconfig(settings.kubeconfig, user_agent="bex-operator") as kube,
        resolver.Resolver(settings.registries) as registries,
    ):
        one = settings.namespaces[0] if len(settings.namespaces) == 1 else None
        base_domain = settings.platform.base_domain
        seen = views.make(kube, one, settings.namespace_labels, base_domain=base_domain)
        told = recorder.Recorder(kube, settings.identity)
        policy = app.Policy(
            reports.Addresses(settings.public_url, base_domain),
            _manages(settings, seen),
            settings.platform,
            settings.own_secrets,
        )
        controller = app.Controller(kube, seen, policy, counted, told, registries.resolve)

        def synced() -> bool:
            return all(cache.synced.is_set() for cache in seen.all)

        def refresh() -> None:
            counted.queue_depth.set(len(controller.queue))
            for cache in seen.all:
                counted.cached.labels(cache.scope.kind.kind).set(len(cache))

        async with (
            health.serve(
                settings.health_address,
                settings.health_port,
                ready=synced,
                refresh=refresh,
                counted=counted,
            ) as port,
            _running(seen, stop),
        ):
            _log.info("operator.started", health_port=port, server=kube.server)
            if await _unless(stop, _wait_synced(seen)):
                _log.info("operator.synced", apps=len(seen.apps))
                await _lead(settings, kube, controller, counted, stop)
            await told.drain()
    _log.info("operator.stopped")


async def _lead(
    settings: Settings,
    kube: client.Client,
    controller: app.Controller,
    counted: metrics.Metrics,
    stop: asyncio.Event,
) -> None:
    """Act, if need be only while holding the lease."""
    if not settings.leader_elect:
        counted.leading.set(1)
        await _work(controller, stop)
        return
    election = leases.Election(
        kube, leases.Lease(settings.lease_namespace, "bex-operator", settings.identity)
    )
    if not await _unless(stop, election.acquire()):
        return
    _log.info("operator.leading", identity=settings.identity)
    counted.leading.set(1)
    lost = asyncio.create_task(election.hold())
    stopping = asyncio.create_task(stop.wait())
    halt = asyncio.Event()
    work = asyncio.create_task(_work(controller, halt))
    try:
        await asyncio.wait({lost, stopping, work}, return_when=asyncio.FIRST_COMPLETED)
        halt.set()
        await work
        if lost.done():
            # Caches and queue are fine, but another may act now: start afresh.
            raise leases.Lost(f"the lease {election.lease.name!r} went to somebody else")
    finally:
        counted.leading.set(0)
        for task in (lost, stopping, work):
            task.cancel()
        await asyncio.gather(lost, stopping, work, return_exceptions=True)
        await election.release()


async def _work(controller: app.Controller, stop: asyncio.Event) -> None:
    """Run the workers; after *stop* let what is in flight finish."""
    workers = [asyncio.create_task(controller.work()) for _ in range(WORKERS)]
    resync = asyncio.create_task(_resync(controller))
    try:
        await stop.wait()
        controller.queue.close()
        _, late = await asyncio.wait(workers, timeout=FINISH_SECONDS)
        if late:
            _log.warning("operator.unfinished", workers=len(late))
    finally:
        for task in (resync, *workers):
            task.cancel()
        await asyncio.gather(resync, *workers, return_exceptions=True)


async def _resync(controller: app.Controller) -> None:
    """Look at everything again now and then: a net under bugs, not part of the logic."""
    while True:
        await asyncio.sleep(RESYNC_SECONDS)
        controller.enqueue_all()


@contextlib.asynccontextmanager
async def _running(seen: views.Views, stop: asyncio.Event) -> AsyncIterator[None]:
    """Keep the caches current; one that dies of a bug ends the process, never goes stale."""
    tasks = [asyncio.create_task(cache.run()) for cache in seen.all]

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            stop.set()

    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _wait_synced(seen: views.Views) -> None:
    async with asyncio.timeout(SYNC_SECONDS):
        for cache in seen.all:
            await cache.synced.wait()


async def _unless(stop: asyncio.Event, wanted: Coroutine[Any, Any, None]) -> bool:
    """Wait for *wanted*; give it up and return False if *stop* comes first."""
    waiting, stopping = asyncio.create_task(wanted), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            waiting.result()
            return True
        return False
    finally:
        for task in (waiting, stopping):
            task.cancel()
        await asyncio.gather(waiting, stopping, return_exceptions=True)


def _manages(settings: Settings, seen: views.Views) -> Callable[[str], bool]:
    chosen = frozenset(settings.namespaces)

    def manages(namespace: str) -> bool:
        if chosen and namespace not in chosen:
            return False
        return seen.namespaces is None or seen.namespaces.get("", namespace) is not None

    return manages
