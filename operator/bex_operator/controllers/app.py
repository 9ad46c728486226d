"""Reconciles Apps: observe, decide, apply what differs, report what was found."""

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

from bex_operator.api import app, status
from bex_operator.controllers import artefacts as making
from bex_operator.controllers import (
    capacity,
    children,
    protection,
    recorder,
    removal,
    reporting,
    views,
    wakes,
    work,
    workloads,
)
from bex_operator.controllers import releases as keeping
from bex_operator.kube import errors, kinds, queues
from bex_operator.plan import artefacts, certificates, claims, reports, rollouts, workload
from bex_operator.plan import protection as protection_plan

Object = dict[str, Any]
Key = work.Key


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator is told to do and to leave alone."""

    addresses: reports.Addresses
    manages: Callable[[str], bool]
    """Whether it acts in a namespace."""
    platform: claims.Platform = dataclasses.field(default_factory=claims.Platform)
    """Which hosts are the platform's to keep and to give."""
    own_secrets: frozenset[str] = frozenset()
    """Names of Secrets that are the platform's in every namespace."""
    issuer: str | None = None
    """Who signs certificates of hosts (a ClusterIssuer); None where the edge has its own."""


class Controller:
    """Keeps every App as its spec says."""

    def __init__(  # noqa: PLR0913 - all that it works with
        self,
        seen: views.Views,
        policy: Policy,
        writer: children.Writer,
        told: recorder.Recorder,
        resolve: keeping.Resolve,
        *,
        builder: making.Builder | None = None,
        waking: wakes.Wakes | None = None,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._clock = clock
        self._views = seen
        self._policy = policy
        self._builder = builder or making.NoBuilder()
        self._wakes = waking or wakes.Wakes(seen, queues.Queue())
        self._line = work.Line(self.reconcile, self._wakes.queue, writer.counted)
        self._guard = protection.Guard(writer.kube, policy.own_secrets)
        self._gauge = capacity.Gauge(writer.kube)
        self._reporter = reporting.Reporter(seen, writer, told)
        self._keeper = keeping.Keeper(seen, writer, self._reporter, resolve, clock)
        self._applier = workloads.Applier(seen, writer, self._wakes)
        self._remover = removal.Remover(seen, writer, self._reporter, self._builder)

    @property
    def queue(self) -> queues.Queue[Key]:
        """Apps to look at, by namespace and name."""
        return self._line.queue

    async def work(self) -> None:
        """Take keys and reconcile them until the queue closes; one of several workers."""
        await self._line.work()

    def enqueue_all(self) -> None:
        """Look at every App again, behind whatever is new."""
        self._wakes.all()

    async def reconcile(self, key: Key) -> float | None:
        """Bring one App to its wanted state; return after how many seconds to look again."""
        manifest = self._views.apps.get(*key)
        if manifest is None or not self._policy.manages(key[0]):
            return None
        if "deletionTimestamp" in manifest["metadata"]:
            return await self._remover.tear_down(manifest, self._clock())
        manifest = await self._reporter.with_finalizer(manifest)
        try:
            wanted = _understood(manifest)
            await self._check_secrets(wanted, key[0])
            return await self._converge(manifest, wanted)
        except keeping.NotReleased as refused:
            await self._refuse(manifest, refused.refusal, refused.standing)
            return refused.again_seconds
        except children.NameTaken as taken:
            refusal = reports.Refusal("NameTaken", str(taken))
        except (errors.Invalid, errors.BadRequest) as bad:
            refusal = reports.Refusal("Refused", f"the API server refuses it: {bad}"[:900])
        except errors.Forbidden as forbidden:
            # A quota, an admission rule or a missing right: it may end without the App changing.
            if not _namespace_ends(forbidden):
                refusal = reports.Refusal(
                    "Forbidden", f"the API server forbids it: {forbidden}"[:900]
                )
                await self._refuse(manifest, refusal)
            raise
        await self._refuse(manifest, refusal)
        return None

    async def _converge(self, manifest: Object, wanted: app.App) -> float | None:
        owner = workload.owner_of(manifest)
        before = reports.recorded(manifest)
        artefact = await self._artefact(manifest, wanted)
        settled = await self._keeper.settle(manifest, wanted, artefact, before)
        if (
            settled.wanted.env != wanted.env
            or settled.wanted.env_from_secret != wanted.env_from_secret
        ):
            # What is restored may name what was protected since.
            await self._check_secrets(settled.wanted, owner.namespace)
        outcome = self._hosts(owner, wanted)
        wanted, release = settled.wanted, settled.release
        rendered = workload.render(wanted, owner, release, outcome.granted, self._policy.issuer)
        leaving = await self._applier.apply(settled.manifest, rendered)
        now = self._clock()
        lacking = self._lacking(manifest, outcome.granted)
        observed = self._observe(settled.manifest, settled.standing, leaving, lacking)
        if rollouts.waits_for_room(observed):
            observed = dataclasses.replace(observed, rooms=await self._gauge.rooms())
        addresses = self._policy.addresses
        after = reports.report(wanted, observed, release, outcome, addresses, before, now=now)
        await self._reporter.report(settled.manifest, before, after, now)
        return _soonest(
            reports.recheck_seconds(observed, now=now),
            settled.again,
            keeping.given_up_seconds(before, after),
        )

    async def _artefact(self, manifest: Object, wanted: app.App) -> artefacts.Outcome:
        source = artefacts.source_of(wanted)
        if isinstance(source, artefacts.Prebuilt):
            foreign = artefacts.foreign(source, manifest["metadata"]["uid"])
            return foreign or artefacts.Ready(source.image, queue=status.Queue())
        return await self._builder.outcome(manifest, source)

    def _hosts(self, owner: workload.Owner, wanted: app.App) -> claims.Outcome:
        asked = app.hosts_of(wanted, self._policy.platform.base_domain)
        found = [self._views.claim(host, self._policy.manages) for host in asked]
        return claims.settle(owner.uid, found, self._policy.platform)

    def _lacking(
        self, manifest: Object, hosts: Sequence[str]
    ) -> Sequence[certificates.Lack] | None:
        if self._policy.issuer is None:
            return None
        name = manifest["metadata"]["name"]
        return certificates.lacking(name, hosts, self._views.certificates_of(manifest))

    async def _check_secrets(self, wanted: app.App, namespace: str) -> None:
        refusal = await self._guard.check(wanted, namespace)
        if refusal is not None:
            raise keeping.NotReleased(refusal, protection_plan.RECHECK_SECONDS)

    def _observe(
        self,
        manifest: Object,
        standing: rollouts.Standing,
        leaving: Sequence[str] = (),
        lacking: Sequence[certificates.Lack] | None = None,
    ) -> rollouts.Observed:
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        return rollouts.Observed(
            manifest,
            self._views.children[kinds.DEPLOYMENT.kind].get(namespace, name),
            self._views.pods_of(namespace, name),
            self._views.children[kinds.HORIZONTAL_POD_AUTOSCALER.kind].get(namespace, name),
            leaving=leaving,
            standing=standing,
            lacking=lacking,
        )

    async def _refuse(
        self,
        manifest: Object,
        refusal: reports.Refusal,
        standing: rollouts.Standing | None = None,
    ) -> None:
        now = self._clock()
        before = reports.recorded(manifest)
        observed = self._observe(manifest, standing or rollouts.Standing())
        after = reports.refused(observed, refusal, before, now=now)
        await self._reporter.report(manifest, before, after, now)


def _soonest(*times: float | None) -> float | None:
    return min((each for each in times if each is not None), default=None)


def _namespace_ends(forbidden: errors.Forbidden) -> bool:
    causes = forbidden.details.get("causes") or []
    return any(each.get("reason") == "NamespaceTerminating" for each in causes)


def _understood(manifest: Object) -> app.App:
    try:
        return app.App.from_manifest(manifest)
    except pydantic.ValidationError as bad:
        raise keeping.NotReleased(reports.Refusal("BadSpec", app.describe(bad))) from bad
