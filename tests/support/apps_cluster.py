"""A real API server with the App kind, and a stand-in for what runs pods.

There is no controller-manager here: `Actors` plays Deployment controller, scheduler and kubelet by
writing Pods and statuses through the API, so a test says exactly what the operator gets to see.
"""

import asyncio
import contextlib
import datetime
import functools
import itertools
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bex_operator import api
from bex_operator.api import names
from bex_operator.controllers import app, artefacts, children, metrics, recorder, views
from bex_operator.kube import caches, client, errors, kinds
from bex_operator.plan import claims, reports
from bex_operator.registry import resolver
from tests.support.api_server import ApiServer
from tests.support.waiting import SECONDS, until

Object = dict[str, Any]
_COUNTER = itertools.count(1)
NO_REGISTRY = "http://127.0.0.1:9"
"""Nobody listens on the port called discard."""


@pytest.fixture(scope="session")
async def kube(api_server: ApiServer) -> AsyncIterator[client.Client]:
    """An administrator's client; the App kind is served."""
    async with client.Client.from_kubeconfig(api_server.kubeconfig) as made:
        await made.apply(api.crd(), field_manager="test")

        async def served() -> bool:
            try:
                await made.list(kinds.APP, "default")
            except errors.NotFound:
                return False
            return True

        await until(served, "the App kind is served")
        yield made


@pytest.fixture
async def namespace(kube: client.Client) -> str:
    """A namespace of the test's own."""
    name = f"t{next(_COUNTER)}-{secrets.token_hex(3)}"
    await kube.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, field_manager="test"
    )
    return name


def app_manifest(namespace: str, name: str = "web", **spec: Any) -> Object:
    """An App object with defaults that run."""
    given = {"name": name, "image": "example.com/web:1", **spec}
    return api.App(**{k: v for k, v in given.items() if v is not None}).manifest(namespace)


@dataclass
class Bench:
    """An operator whose reconciles the test calls one by one, and what it looks at."""

    kube: client.Client
    views: views.Views
    controller: app.Controller
    metrics: metrics.Metrics
    namespace: str

    async def create(self, name: str = "web", **spec: Any) -> Object:
        """Create an App and wait until the cache has it."""
        made = await self.kube.create(
            app_manifest(self.namespace, name, **spec), field_manager="test"
        )
        await self.seen(self.views.apps, made)
        return made

    async def change(self, name: str = "web", **spec: Any) -> Object:
        """Merge into the App's spec and wait until the cache has it."""
        made = await self.kube.patch(kinds.APP, name, self.namespace, {"spec": spec})
        await self.seen(self.views.apps, made)
        return made

    async def seen(self, cache: Any, written: Object) -> None:
        """Wait until the cache holds the version that was written."""
        metadata = written["metadata"]

        async def holds() -> bool:
            found = cache.get(metadata["namespace"], metadata["name"])
            return found is not None and int(found["metadata"]["resourceVersion"]) >= int(
                metadata["resourceVersion"]
            )

        await until(holds, f"{written['kind']} {metadata['name']} is in the cache")

    async def reconcile(self, name: str = "web") -> Object:
        """Reconcile once and return the App as the API server has it."""
        await self.controller.reconcile((self.namespace, name))
        return await self.get(kinds.APP, name)

    async def get(self, kind: kinds.Kind, name: str = "web") -> Object:
        """Read an object from the API server."""
        return await self.kube.get(kind, name, self.namespace)

    async def find(self, kind: kinds.Kind, name: str = "web") -> Object | None:
        """Read an object that may not be there."""
        try:
            return await self.get(kind, name)
        except errors.NotFound:
            return None

    async def gone(self, kind: kinds.Kind, name: str = "web") -> None:
        """Wait until the cache no longer has the object."""

        async def holds() -> bool:
            return self.views.by_kind[kind.kind].get(self.namespace, name) is None

        await until(holds, f"{kind.kind} {name} is gone from the cache")

    async def delete_app(self, name: str = "web") -> None:
        """Ask for the App's deletion and wait until the cache knows."""
        await self.kube.delete(kinds.APP, name, self.namespace)

        async def known() -> bool:
            found = self.views.apps.get(self.namespace, name)
            return found is None or "deletionTimestamp" in found["metadata"]

        await until(known, f"App {name} is seen to be deleted")

    async def settle_caches(self) -> None:
        """Wait until every cache has what the API server has."""
        for cache in self.views.all:
            await until(
                functools.partial(self._is_current, cache), f"{cache.scope.kind.kind}s are current"
            )

    async def _is_current(self, cache: caches.Cache) -> bool:
        scope = cache.scope
        listed = (await self.kube.list(scope.kind, scope.namespace, labels=scope.labels)).items
        wanted = {_identity(each) for each in listed}
        held = (cache.get(*key) for key in cache.keys())  # noqa: SIM118 - not a mapping
        return wanted == {_identity(each) for each in held if each is not None}

    async def work_until_quiet(self, workers: int = 2) -> None:
        """Reconcile all there is, and what comes of it, until there is nothing left to do now."""
        tasks = [asyncio.create_task(self.controller.work()) for _ in range(workers)]
        self.controller.enqueue_all()
        await until(self._is_quiet, "the operator has nothing left to do")
        self.controller.queue.close()
        await asyncio.gather(*tasks)

    async def _is_quiet(self) -> bool:
        """Nothing was written while the caches caught up, and nothing came of it."""
        before = self.writes()
        was_idle = self._is_idle()
        await self.settle_caches()
        return was_idle and self._is_idle() and self.writes() == before

    def _is_idle(self) -> bool:
        return self.controller.queue.idle and not self.controller.queue._failures

    async def drain_queue(self) -> set[tuple[str, str]]:
        """Take everything that waits for a worker."""
        await self.settle_caches()
        taken = set()
        while len(self.controller.queue):
            key = await self.controller.queue.get()
            self.controller.queue.done(key)
            taken.add(key)
        return taken

    def writes(self) -> float:
        """How many writes the operator has sent so far."""
        return sum(
            sample.value
            for family in self.metrics.writes.collect()
            for sample in family.samples
            if sample.name == "bex_writes_total"
        )

    async def assert_settled(self, name: str = "web") -> None:
        """Reconcile again: nothing may be written."""
        before, was = self.writes(), await self.get(kinds.APP, name)
        now = await self.reconcile(name)
        assert now == was
        assert self.writes() == before

    async def play(self, name: str = "web", *, ready: int | None = None, **pod: Any) -> None:
        """Give the Deployment the pods it wants; *ready* of them (default: all) are ready.

        Pods of other revisions go once enough are ready, as in a rolling update.
        """
        deployment = await self.get(kinds.DEPLOYMENT, name)
        template, wanted = deployment["spec"]["template"], deployment["spec"]["replicas"]
        ready = wanted if ready is None else ready
        for old in await self.pods(name):
            revision = old["metadata"]["labels"][names.REVISION_LABEL]
            if ready >= wanted or revision == template["metadata"]["labels"][names.REVISION_LABEL]:
                await self.remove_pod(old)
        await self.play_deployment(name)
        for number in range(wanted):
            await self.make_pod(f"{name}-{secrets.token_hex(3)}", template, number < ready, **pod)

    async def play_deployment(self, name: str = "web", **status: Any) -> None:
        """Say in the Deployment's status that everything asked of it was taken in."""
        deployment = await self.get(kinds.DEPLOYMENT, name)
        wanted = deployment["spec"]["replicas"]
        body = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": wanted,
            "updatedReplicas": wanted,
            **status,
        }
        written = await self.kube.patch(
            kinds.DEPLOYMENT,
            name,
            self.namespace,
            {"status": body},
            subresource="status",
            field_manager="kcm",
        )
        await self.seen(self.views.children["Deployment"], written)

    async def pods(self, name: str = "web") -> list[Object]:
        """The App's pods."""
        found = await self.kube.list(kinds.POD, self.namespace, labels=f"{names.APP_LABEL}={name}")
        return found.items

    async def remove_pod(self, pod: Object) -> None:
        """Delete a pod at once and wait until the cache knows."""
        name = pod["metadata"]["name"]
        await self.kube.delete(kinds.POD, name, self.namespace, grace_seconds=0)

        async def gone() -> bool:
            return self.views.pods.get(self.namespace, name) is None

        await until(gone, f"pod {name} is gone from the cache")

    async def make_pod(self, name: str, template: Object, ready: bool, **status: Any) -> None:
        """Create a pod from the Deployment's template, with a status."""
        metadata = {"name": name, "namespace": self.namespace}
        await self.kube.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {**template["metadata"], **metadata},
                "spec": template["spec"],
            },
            field_manager="kubelet",
        )
        conditions = [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": "True" if ready else "False"},
        ]
        body = {"status": {"phase": "Running", "conditions": conditions, **status}}
        written = await self.kube.patch(
            kinds.POD, name, self.namespace, body, subresource="status", field_manager="kubelet"
        )
        await self.seen(self.views.pods, written)


@pytest.fixture
async def bench(kube: client.Client, namespace: str) -> AsyncIterator[Bench]:
    """An operator for the test's namespace, with filled caches and no workers."""
    async with make_bench(kube, namespace, namespace) as made:
        yield made


@pytest.fixture
async def running(bench: Bench) -> Bench:
    """The bench with App `web` Running on 2 replicas."""
    await bench.create(replicas=2, host=f"web.{bench.namespace}.example.com", port=8080)
    await bench.reconcile()
    await bench.play()
    app = await bench.reconcile()
    assert app["status"]["phase"] == "Running"
    return bench


@contextlib.asynccontextmanager
async def make_bench(
    kube: client.Client,
    namespace: str,
    watched: str | None,
    *,
    clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    registry: str = NO_REGISTRY,
    builder: artefacts.Builder | None = None,
    **policy_fields: Any,
) -> AsyncIterator[Bench]:
    """Make a bench that watches one namespace, or all; it obeys a Policy with these fields.

    Images are looked up at *registry*; *builder* makes them out of repositories.
    """
    platform = policy_fields.get("platform") or claims.Platform()
    base_domain = platform.base_domain
    certified = policy_fields.get("issuer") is not None
    seen = views.make(kube, watched, base_domain=base_domain, certified=certified)
    counted = metrics.Metrics()
    told = recorder.Recorder(kube, "test")
    addresses = reports.Addresses("http://{host}:8080", base_domain)
    policy = app.Policy(addresses, **{"manages": lambda _: True, **policy_fields})
    images = resolver.Resolver({"example.com": (registry,)})
    writer = children.Writer(kube, counted)
    controller = app.Controller(
        seen, policy, writer, told, images.resolve, builder=builder, clock=clock
    )
    tasks = [asyncio.create_task(cache.run()) for cache in seen.all]
    try:
        for cache in seen.all:
            await asyncio.wait_for(cache.synced.wait(), SECONDS)
        async with images:
            yield Bench(kube, seen, controller, counted, namespace)
        await told.drain()
    finally:
        controller.queue.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _identity(item: Object) -> tuple[str, ...]:
    metadata = item["metadata"]
    found = (metadata.get(key, "") for key in ("namespace", "name", "uid", "resourceVersion"))
    return tuple(str(each) for each in found)


def condition(manifest: Object, wanted: str) -> tuple[str, str, str]:
    """Status, reason and message of one of an App's conditions."""
    found = next(each for each in manifest["status"]["conditions"] if each["type"] == wanted)
    return found["status"], found["reason"], found["message"]
