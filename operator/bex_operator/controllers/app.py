"""Reconciles Apps: observe, decide, apply what differs, report what was found."""

import asyncio
import dataclasses
import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic
import structlog

from bex_operator.api import app, conditions, names, status
from bex_operator.controllers import children, metrics, protection, recorder, views
from bex_operator.controllers import releases as keeping
from bex_operator.kube import caches, client, errors, kinds, queues
from bex_operator.plan import claims, news, reports, teardown, workload
from bex_operator.plan import protection as protection_plan

Object = dict[str, Any]
Key = caches.Key
Pairs = Sequence[tuple[kinds.Kind, Object | None]]

NOT_SUPPORTED = reports.Refusal(
    "NotSupportedYet",
    "spec.repo: builds from a git repository are not supported yet; set spec.image instead",
)

_log = structlog.get_logger(__name__)


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


class Controller:
    """Keeps every App as its spec says."""

    def __init__(
        self,
        kube: client.Client,
        seen: views.Views,
        policy: Policy,
        counted: metrics.Metrics,
        told: recorder.Recorder,
        resolve: keeping.Resolve,
        *,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._clock = clock
        self.queue: queues.Queue[Key] = queues.Queue()
        self._kube = kube
        self._views = seen
        self._policy = policy
        self._metrics = counted
        self._recorder = told
        self._writer = children.Writer(kube, counted)
        self._guard = protection.Guard(kube, policy.own_secrets)
        self._keeper = keeping.Keeper(seen, self._writer, resolve)
        seen.apps.listen(self._app_changed)
        seen.pods.listen(self._labelled_changed)
        seen.records.listen(self._labelled_changed)
        for cache in seen.children.values():
            cache.listen(self._child_changed)
        seen.children[kinds.INGRESS.kind].listen(self._ingress_changed)
        if seen.namespaces is not None:
            seen.namespaces.listen(self._namespace_changed)

    async def work(self) -> None:
        """Take keys and reconcile them until the queue closes; one of several workers."""
        while True:
            try:
                key = await self.queue.get()
            except queues.Closed:
                return
            await self._attempt(key)

    def enqueue_all(self) -> None:
        """Look at every App again, behind whatever is new."""
        for key in self._views.apps.keys():  # noqa: SIM118 - a cache is no dict
            self.queue.add(key, fresh=False)

    async def reconcile(self, key: Key) -> float | None:
        """Bring one App to its wanted state; return after how many seconds to look again."""
        manifest = self._views.apps.get(*key)
        if manifest is None or not self._policy.manages(key[0]):
            return None
        if "deletionTimestamp" in manifest["metadata"]:
            return await self._tear_down(manifest)
        manifest = await self._with_finalizer(manifest)
        try:
            wanted = _understood(manifest)
            await self._check_secrets(wanted, key[0])
            return await self._converge(manifest, _buildable(wanted))
        except keeping.NotReleased as refused:
            await self._refuse(manifest, refused.refusal)
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

    async def _attempt(self, key: Key) -> None:
        self._metrics.queue_depth.set(len(self.queue))
        started = time.perf_counter()
        structlog.contextvars.bind_contextvars(namespace=key[0], app=key[1])
        try:
            again = await self.reconcile(key)
        except errors.TooManyRequests as busy:
            self._failed(key, busy, busy.retry_after_seconds)
        except (errors.KubeError, children.Moved) as exc:
            self._failed(key, exc)
        except Exception as exc:  # noqa: BLE001 - a poisoned App must not stop the others
            _log.exception("app.poison")
            self._failed(key, exc)
        else:
            self.queue.done(key)
            if again is not None:
                self.queue.add_after(key, again)
        finally:
            structlog.contextvars.clear_contextvars()
            self._metrics.reconciles.observe(time.perf_counter() - started)

    def _failed(self, key: Key, exc: Exception, at_least_seconds: float = 0.0) -> None:
        delay = self.queue.failed(key, at_least_seconds=at_least_seconds)
        self._metrics.failures.labels(type(exc).__name__).inc()
        _log.warning(
            "app.retry", error=f"{type(exc).__name__}: {exc}"[:500], after_seconds=round(delay, 2)
        )

    async def _converge(self, manifest: Object, wanted: app.App) -> float | None:
        owner = workload.owner_of(manifest)
        outcome = claims.settle(
            owner.uid,
            [self._views.claim(host, self._policy.manages) for host in self._asked(wanted)],
            self._policy.platform,
        )
        before = reports.recorded(manifest)
        settled = await self._keeper.settle(manifest, wanted, before)
        if (
            settled.wanted.env != wanted.env
            or settled.wanted.env_from_secret != wanted.env_from_secret
        ):
            # What is restored may name what was protected since.
            await self._check_secrets(settled.wanted, owner.namespace)
        wanted, release = settled.wanted, settled.release
        leaving = await self._apply(owner, workload.render(wanted, owner, release, outcome.granted))
        now = self._clock()
        observed = dataclasses.replace(
            self._observe(settled.manifest), leaving=leaving, standing=settled.standing
        )
        after = reports.report(wanted, observed, release, outcome, self._policy.addresses, now=now)
        await self._report(settled.manifest, before, after, now)
        return _soonest(
            reports.recheck_seconds(observed, now=now),
            settled.again,
            keeping.given_up_seconds(before, after),
        )

    def _asked(self, wanted: app.App) -> tuple[str, ...]:
        return app.hosts_of(wanted, self._policy.platform.base_domain)

    async def _check_secrets(self, wanted: app.App, namespace: str) -> None:
        refusal = await self._guard.check(wanted, namespace)
        if refusal is not None:
            raise keeping.NotReleased(refusal, protection_plan.RECHECK_SECONDS)

    def _observe(self, manifest: Object) -> reports.Observed:
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        return reports.Observed(
            manifest,
            self._views.children[kinds.DEPLOYMENT.kind].get(namespace, name),
            self._views.pods_of(namespace, name),
            self._views.children[kinds.HORIZONTAL_POD_AUTOSCALER.kind].get(namespace, name),
        )

    async def _apply(self, owner: workload.Owner, wanted: workload.Workload) -> list[str]:
        """Write all children at once; return the kinds that must leave before they can be made.

        A failure is raised after all others are through. An autoscaler comes after the Deployment
        let go of its replicas, and goes before the number is ours again.
        """
        autoscaler = (kinds.HORIZONTAL_POD_AUTOSCALER, wanted.autoscaler)
        if wanted.autoscaler is None:
            await self._settle_child(owner, *autoscaler)
        else:
            deployments = self._views.children[kinds.DEPLOYMENT.kind]
            await self._writer.hand_over(deployments, wanted, owner)
        pairs: Pairs = (
            (kinds.DEPLOYMENT, wanted.deployment),
            (kinds.SERVICE, wanted.service),
            (kinds.INGRESS, wanted.ingress),
            (kinds.POD_DISRUPTION_BUDGET, wanted.budget),
        )
        leaving = await self._settle_children(owner, pairs)
        if wanted.autoscaler is not None:
            leaving += await self._settle_children(owner, (autoscaler,))
        return leaving

    async def _settle_children(self, owner: workload.Owner, pairs: Pairs) -> list[str]:
        results = await asyncio.gather(
            *(self._settle_child(owner, kind, child) for kind, child in pairs),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [kind.kind for (kind, _), result in zip(pairs, results, strict=True) if not result]

    async def _settle_child(
        self, owner: workload.Owner, kind: kinds.Kind, wanted: Object | None
    ) -> bool:
        """Make or remove one child; False while an old one is on its way out."""
        cache = self._views.children[kind.kind]
        if wanted is None:
            await self._writer.remove_stale(cache, owner.namespace, owner.name, owner.uid)
            return True
        before = cache.get(owner.namespace, owner.name)
        after = await self._writer.ensure(cache, wanted, owner.uid)
        if kind is kinds.INGRESS and after is not before:
            # The watch will not tell of our own write, but losers wait for hosts given up.
            self._wake_claimants(before, after, (owner.namespace, owner.name))
        return after is not None

    async def _refuse(self, manifest: Object, refusal: reports.Refusal) -> None:
        now = self._clock()
        before = reports.recorded(manifest)
        after = reports.refused(self._observe(manifest), refusal, now=now)
        await self._report(manifest, before, after, now)

    async def _report(
        self,
        manifest: Object,
        before: status.AppStatus | None,
        after: status.AppStatus,
        now: datetime.datetime,
    ) -> None:
        """Write the status where it differs; a spec that moved meanwhile makes it a Conflict."""
        if before == after:
            return
        metadata = manifest["metadata"]
        new = after.model_dump(mode="json", by_alias=True, exclude_none=True)
        old = manifest.get("status") or {}
        changed = {key: value for key, value in new.items() if old.get(key) != value}
        gone = {key: None for key in old if key not in new}
        self._writer.count("status", names.KIND)
        written = await self._kube.patch(
            kinds.APP,
            metadata["name"],
            metadata["namespace"],
            {
                "metadata": {"resourceVersion": metadata["resourceVersion"]},
                "status": changed | gone,
            },
            field_manager=children.FIELD_MANAGER,
            subresource="status",
        )
        self._views.apps.put(written)
        told = news.between(before, after)
        _log.info("app.reported", phase=after.phase, revision=after.active_revision)
        if told is not None:
            self._recorder.record(manifest, told, now)

    async def _with_finalizer(self, manifest: Object) -> Object:
        metadata = manifest["metadata"]
        present = metadata.get("finalizers") or []
        if names.FINALIZER in present:
            return manifest
        return await self._set_finalizers(manifest, [*present, names.FINALIZER])

    async def _set_finalizers(self, manifest: Object, finalizers: list[str]) -> Object:
        metadata = manifest["metadata"]
        self._writer.count("finalizer", names.KIND)
        written = await self._kube.patch(
            kinds.APP,
            metadata["name"],
            metadata["namespace"],
            {
                "metadata": {
                    "resourceVersion": metadata["resourceVersion"],
                    "finalizers": finalizers,
                }
            },
            field_manager=children.FIELD_MANAGER,
        )
        self._views.apps.put(written)
        return written

    async def _tear_down(self, manifest: Object) -> float | None:
        metadata = manifest["metadata"]
        finalizers = metadata.get("finalizers") or []
        if names.FINALIZER not in finalizers:
            return None
        step = teardown.next_step(self._views.owned_by(manifest))
        failed = await self._writer.remove_all(self._views.by_kind, step.delete)
        now = self._clock()
        left = teardown.patience_seconds(manifest, now=now)
        if step.done:
            try:
                await self._set_finalizers(manifest, teardown.without_finalizer(finalizers))
            except errors.NotFound:
                self._views.apps.drop(metadata["namespace"], metadata["name"])
            return None
        if left > 0:
            if failed is not None:
                raise failed
            return left
        before = reports.recorded(manifest)
        failure = "" if failed is None else str(failed)
        after = teardown.stalled(manifest, before, step, failure, now=conditions.time_text(now))
        await self._report(manifest, before, after, now)
        return teardown.STALLED_RETRY_SECONDS

    def _namespace_changed(self, change: caches.Change) -> None:
        """A namespace came under our care (or left it): look at its Apps."""
        if (change.before is None) is not (change.after is None):
            for key in self._views.apps.keys():  # noqa: SIM118 - a cache is no dict
                if key[0] == change.key[1]:
                    self.queue.add(key, fresh=not change.initial)

    def _app_changed(self, change: caches.Change) -> None:
        self.queue.add(change.key, fresh=not change.initial)
        if not change.initial:
            hosts = _moved_hosts(change.before, change.after, self._views.asked_hosts)
            self._enqueue_claimants(hosts, change.key)

    def _labelled_changed(self, change: caches.Change) -> None:
        manifest = change.after or change.before or {}
        name = manifest["metadata"].get("labels", {}).get(names.APP_LABEL)
        self._enqueue_known((change.key[0], name), change)

    def _child_changed(self, change: caches.Change) -> None:
        self._enqueue_known(change.key, change)

    def _ingress_changed(self, change: caches.Change) -> None:
        if not change.initial:
            self._wake_claimants(change.before, change.after, change.key)

    def _wake_claimants(self, before: Object | None, after: Object | None, key: Key) -> None:
        self._enqueue_claimants(_moved_hosts(before, after, views.hosts_of_ingress), key)

    def _enqueue_claimants(self, hosts: list[str], besides: Key) -> None:
        for key in self._views.claimants(hosts) - {besides}:
            self.queue.add(key)

    def _enqueue_known(self, key: Key, change: caches.Change) -> None:
        if self._views.apps.get(*key) is not None:
            self.queue.add(key, fresh=not change.initial)


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


def _buildable(wanted: app.App) -> app.App:
    """Refuse an App that must be built first, until builds land."""
    if wanted.image is None:
        raise keeping.NotReleased(NOT_SUPPORTED)
    return wanted


def _moved_hosts(
    before: Object | None, after: Object | None, read: Callable[[Object], Any]
) -> list[str]:
    """Hosts that only one of the two has."""
    sides = [set(read(side)) if side is not None else set() for side in (before, after)]
    return sorted(sides[0] ^ sides[1])
