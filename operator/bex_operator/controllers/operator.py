"""The operator as a process. Its caches begin to fill while most of its modules are imported: that
takes about as long as the API server needs to tell what there is.
"""

import argparse
import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import structlog

from bex_operator import loading
from bex_operator.controllers import operator_settings, running, views, wakes
from bex_operator.kube import client, kubeconfig, leases, queues

_log = structlog.get_logger(__name__)


add_arguments = operator_settings.add_arguments


async def run(args: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    settings = operator_settings.read(args)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await operate(settings, stop)


async def operate(settings: operator_settings.Settings, stop: asyncio.Event) -> None:
    """Run until *stop* is set."""
    async with _client(settings) as (kube, election):
        seen = _views(settings, kube)
        waking = wakes.Wakes(seen, queues.Queue())
        async with running.beside(seen.all, stop):
            acting = await asyncio.to_thread(loading.load, "bex_operator.controllers.acting")
            await acting.act(settings, kube, election, seen, waking, stop)
    _log.info("operator.stopped")


def _views(settings: operator_settings.Settings, kube: client.Client) -> views.Views:
    return views.make(
        kube,
        settings.namespaces[0] if len(settings.namespaces) == 1 else None,
        settings.namespace_labels,
        base_domain=settings.platform.base_domain,
        certified=settings.certificate_issuer is not None,
    )


@contextlib.asynccontextmanager
async def _client(
    settings: operator_settings.Settings,
) -> AsyncIterator[tuple[client.Client, leases.Election | None]]:
    """Open the way to the API server; where a leader is elected, nobody else writes on it."""
    async with client.Client(_access(settings), user_agent="bex-operator") as kube:
        if not settings.leader_elect:
            yield kube, None
            return
        lease = leases.Lease(settings.lease_namespace, "bex-operator", settings.identity)
        election = leases.Election(kube, lease)
        yield kube.fenced(election.check), election


def _access(settings: operator_settings.Settings) -> kubeconfig.Access:
    if settings.kubeconfig is None:
        return kubeconfig.in_cluster()
    return kubeconfig.load(settings.kubeconfig)
