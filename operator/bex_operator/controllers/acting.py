"""What the operator does with what its caches tell: workers, health, leadership, an orderly end."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING

import structlog

from bex_operator.controllers import (
    app,
    children,
    health,
    metrics,
    operator_settings,
    recorder,
    running,
    views,
    wakes,
)
from bex_operator.kube import caches, client, leases
from bex_operator.plan import reports
from bex_operator.registry import digests

if TYPE_CHECKING:
    from bex_operator.controllers import builds, registry_care

WORKERS = 10
SYNC_SECONDS = 120.0
RESYNC_SECONDS = 600.0
FINISH_SECONDS = 20.0
"""How long work in flight may take after SIGTERM."""
HAND_OVER_SECONDS = 0.5
"""How long work in flight keeps the lease after SIGTERM."""

_log = structlog.get_logger(__name__)


async def act(
    settings: operator_settings.Settings,
    kube: client.Client,
    election: leases.Election | None,
    seen: views.Views,
    waking: wakes.Wakes,
    stop: asyncio.Event,
) -> None:
    """Act on what *seen* holds and *waking* has noted, until *stop* is set."""
    counted = metrics.Metrics()
    async with (
        digests.Digests(settings.registries, settings.registry_key) as images,
        _building(settings, kube, counted) as builder,
    ):
        keeper = _keeper(settings, kube, counted)
        told = recorder.Recorder(kube, settings.identity)
        policy = _policy(settings, seen)
        writer = children.Writer(kube, counted)
        controller = app.Controller(
            seen, policy, writer, told, images.resolve, builder=builder, waking=waking
        )
        watched = seen.all
        if builder is not None:
            watched += builder.watches
            builder.wake_with(controller.queue.add)
            builder.ask_room(keeper)

        def synced() -> bool:
            return all(cache.synced.is_set() for cache in watched)

        built: tuple[running.Kept, ...] = () if builder is None else (*builder.watches, builder)
        async with (
            health.serve(
                settings.health_address,
                settings.health_port,
                ready=synced,
                otherwise="the caches are not filled yet",
                metrics=functools.partial(_render, counted, controller, watched),
            ) as port,
            _taking_webhooks(settings, builder, seen.apps),
            running.beside(built, stop),
        ):
            _log.info("operator.started", health_port=port, server=kube.server)
            if await running.unless(stop, _wait_synced(watched)):
                _log.info("operator.synced", apps=len(seen.apps))
                await _lead(election, controller, keeper, counted, stop)
            await told.drain()


@contextlib.asynccontextmanager
async def _building(
    settings: operator_settings.Settings, kube: client.Client, counted: metrics.Metrics
) -> "AsyncIterator[builds.Builder | None]":
    """Make what builds, if the platform says how."""
    if settings.builds is None:
        yield None
        return
    # An operator that builds nothing starts sooner without.
    from bex_operator.controllers import build_settings, builds

    platform = build_settings.read(settings.builds)
    async with build_settings.remote(platform) as remote:
        yield builds.Builder(platform, children.Writer(kube, counted), remote)


@contextlib.asynccontextmanager
async def _taking_webhooks(
    settings: operator_settings.Settings, builder: "builds.Builder | None", apps: caches.Cache
) -> AsyncIterator[None]:
    """Take webhooks, if anything is built."""
    if builder is None:
        yield
        return
    # Its server takes 12 MiB, which an operator that builds nothing does without.
    from bex_operator.controllers import webhooks

    receiver = builder.receiver(apps)
    async with webhooks.serve(receiver, settings.health_address, settings.webhook_port):
        yield


def _keeper(
    settings: operator_settings.Settings, kube: client.Client, counted: metrics.Metrics
) -> "registry_care.Keeper | None":
    if not settings.registry_care:
        return None
    from bex_operator.controllers import registry_care
    from bex_operator.registry import care

    registry = care.Care(settings.registry_care, settings.registry_key)
    return registry_care.Keeper(kube, registry, counted)


def _policy(settings: operator_settings.Settings, seen: views.Views) -> app.Policy:
    return app.Policy(
        reports.Addresses(settings.public_url, settings.platform.base_domain),
        _manages(settings, seen),
        settings.platform,
        settings.own_secrets,
        settings.certificate_issuer,
    )


def _render(
    counted: metrics.Metrics, controller: app.Controller, watched: Iterable[caches.Cache]
) -> bytes:
    counted.queue_depth.set(len(controller.queue))
    for cache in watched:
        counted.cached.labels(cache.scope.kind.kind).set(len(cache))
        counted.lag.labels(cache.scope.kind.kind).set(cache.lag_seconds)
    return counted.text()


async def _lead(
    election: leases.Election | None,
    controller: app.Controller,
    keeper: "registry_care.Keeper | None",
    counted: metrics.Metrics,
    stop: asyncio.Event,
) -> None:
    """Act, if need be only while holding the lease."""
    if election is None:
        counted.leading.set(1)
        await _work(controller, keeper, stop)
        return
    if not await running.unless(stop, election.acquire()):
        return
    _log.info("operator.leading", identity=election.lease.identity)
    counted.leading.set(1)
    lost = asyncio.create_task(election.hold())
    stopping = asyncio.create_task(stop.wait())
    halt = asyncio.Event()
    work = asyncio.create_task(_work(controller, keeper, halt))
    try:
        await asyncio.wait({lost, stopping, work}, return_when=asyncio.FIRST_COMPLETED)
        halt.set()
        gone = lost.done()
        if not gone:
            await _hand_over(election, lost, work)
        await work
        if gone:
            # Caches and queue are fine, but another may act now: start afresh.
            raise leases.Lost(f"the lease {election.lease.name!r} went to somebody else")
    finally:
        counted.leading.set(0)
        for task in (lost, stopping, work):
            task.cancel()
        await asyncio.gather(lost, stopping, work, return_exceptions=True)
        await election.release()


async def _hand_over(
    election: leases.Election, renewing: asyncio.Task[None], work: asyncio.Task[None]
) -> None:
    """Give the lease up soon: what is still under way then is harmless beside another leader."""
    await asyncio.wait({work}, timeout=HAND_OVER_SECONDS)
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)
    await election.release()


async def _work(
    controller: app.Controller, keeper: "registry_care.Keeper | None", stop: asyncio.Event
) -> None:
    """Run the workers; after *stop* let what is in flight finish."""
    workers = [asyncio.create_task(controller.work()) for _ in range(WORKERS)]
    beside = [asyncio.create_task(_resync(controller))]
    if keeper is not None:
        beside.append(asyncio.create_task(keeper.run()))
    try:
        await stop.wait()
        controller.queue.close()
        _, late = await asyncio.wait(workers, timeout=FINISH_SECONDS)
        if late:
            _log.warning("operator.unfinished", workers=len(late))
    finally:
        for task in (*beside, *workers):
            task.cancel()
        await asyncio.gather(*beside, *workers, return_exceptions=True)


async def _resync(controller: app.Controller) -> None:
    """Look at everything again now and then: a net under bugs, not part of the logic."""
    while True:
        await asyncio.sleep(RESYNC_SECONDS)
        controller.enqueue_all()


async def _wait_synced(watched: Iterable[caches.Cache]) -> None:
    async with asyncio.timeout(SYNC_SECONDS):
        for cache in watched:
            await cache.synced.wait()


def _manages(settings: operator_settings.Settings, seen: views.Views) -> Callable[[str], bool]:
    chosen = frozenset(settings.namespaces)

    def manages(namespace: str) -> bool:
        if chosen and namespace not in chosen:
            return False
        return seen.namespaces is None or seen.namespaces.get("", namespace) is not None

    return manages
