"""Looks after the platform's registry: lets images go that nobody can need, and sees to it that
there is room before a build begins."""

import asyncio
import time
from dataclasses import dataclass

import structlog

from bex_operator.api import images
from bex_operator.controllers import metrics
from bex_operator.kube import client, errors, kinds
from bex_operator.plan import artefacts, collection, tokens
from bex_operator.registry import care, entry
from bex_operator.registry import errors as registry_errors

COLLECT_SECONDS = 3600.0
WATCH_SECONDS = 30.0
"""How often the registry is asked how full it is."""
RETRY_SECONDS = 15.0
"""How often an App that the registry would not let in asks again."""
EARLY_SECONDS = 300.0
"""How soon after a collection a full disk makes the next one."""
_NAMING = (kinds.POD, kinds.DEPLOYMENT, kinds.CONTROLLER_REVISION)
"""What may name images beside Apps and the Jobs of their builds."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Collected:
    """What was let go, and what came of that."""

    going: tuple[collection.Manifest, ...]
    report: care.Report


async def collect(
    kube: client.Client,
    registry: care.Care,
    *,
    dry_run: bool = False,
    grace_seconds: int = images.GRACE_SECONDS,
) -> Collected:
    """Let go what nobody can need.

    Raises: errors.KubeError, registry errors.Unavailable; then everything stays.
    """
    # The registry first: what is pushed after that is not looked at, and whatever was deployed
    # before is seen.
    listed = await registry.inventory()
    apps = await kube.list(kinds.APP)
    jobs = await kube.list(kinds.JOB)
    others = [each for kind in _NAMING for each in (await kube.list(kind)).items]
    facts = collection.read_facts(apps.items, jobs.items, others)
    going = collection.unreachable(listed, facts)
    # What goes is gone for whoever leads.
    kube.fence()
    report = await registry.collect(going, dry_run=dry_run, grace_seconds=grace_seconds)
    return Collected(tuple(going), report)


async def locked_out(held: tokens.Pass) -> artefacts.Waiting | None:
    """Say why a build could not pull and push with what it is given; None if it could."""
    try:
        await entry.prove(held)
    except registry_errors.RegistryError as trouble:
        refused = isinstance(trouble, registry_errors.Refused)
        reason = "RegistryCredentialsRefused" if refused else "RegistryUnavailable"
        message = (
            f"the platform's registry at {held.endpoint}: {trouble}; "
            "the platform is at fault, and the build begins when that is mended"
        )
        return artefacts.Waiting(reason, message, RETRY_SECONDS)
    return None


class Keeper:
    """Keeps the registry, while this process leads."""

    def __init__(self, kube: client.Client, registry: care.Care, counted: metrics.Metrics) -> None:
        self._kube = kube
        self._registry = registry
        self._counted = counted
        self._full = asyncio.Event()

    async def run(self) -> None:
        """Watch and collect, for ever; what does not answer is asked again."""
        collected = time.monotonic()
        while True:
            since = time.monotonic() - collected
            if since >= COLLECT_SECONDS or (self._full.is_set() and since >= EARLY_SECONDS):
                collected = time.monotonic()
                self._full.clear()
                await self._collect()
            await self._watch()
            await asyncio.sleep(WATCH_SECONDS)

    async def refusal(self, needed_bytes: int) -> artefacts.Waiting | None:
        """Say why no build may begin now; None if one may, or if nobody knows."""
        usage = await self._watch()
        refused = None if usage is None else collection.without_room(usage.free, needed_bytes)
        if refused is not None:
            self._full.set()
        return refused

    async def _watch(self) -> care.Usage | None:
        try:
            usage = await self._registry.usage()
        except registry_errors.RegistryError as trouble:
            _log.warning("registry.unknown", error=str(trouble))
            return None
        self._counted.registry_used.set(usage.used)
        self._counted.registry_free.set(usage.free)
        self._counted.registry_capacity.set(usage.capacity)
        return usage

    async def _collect(self) -> None:
        try:
            done = await collect(self._kube, self._registry)
        except (errors.KubeError, registry_errors.RegistryError) as trouble:
            _log.warning("registry.not_collected", error=str(trouble))
            return
        report = done.report
        self._counted.registry_freed.inc(report.freed)
        _log.info(
            "registry.collected",
            manifests=report.manifests,
            blobs=report.blobs,
            freed_bytes=report.freed,
        )
