"""A real etcd and API server with Apps, and what an operator made of them, read back."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import orjson

from bex_operator import api
from bex_operator.kube import client, errors, kinds
from bex_stack.embedded import instance as instances
from bex_stack.embedded import machine_config, providers, simulated, teardown
from components.manifests import operator as manifests
from tests.support import api_server, embedded

NAMESPACE = "bench"
CHILDREN = (kinds.CONTROLLER_REVISION, kinds.DEPLOYMENT, kinds.SERVICE, kinds.INGRESS)
IMAGE = "registry.example.com/team/web@sha256:" + "0123456789abcdef" * 4
_CREATORS = 16
_WRITES = re.compile(
    r'^apiserver_request_total\{[^}]*code="(\d+)"[^}]*,resource="([a-z]*)"[^}]*'
    r'verb="(POST|PUT|PATCH|APPLY|DELETE)"[^}]*\} (\S+)$',
    re.MULTILINE,
)
_NOT_COUNTED = frozenset({"leases", "events", "ipaddresses"})
"""The last are the server's own, one for each Service."""


class Unequal(Exception):
    """The end state is not what the work was."""


class World:
    """One server; watches tell what became of Apps and of their children."""

    def __init__(self, kubeconfig: Path, kube: client.Client) -> None:
        self.kubeconfig = kubeconfig
        """The administrator's."""
        self._kube = kube
        self.reported: dict[str, float] = {}
        """When each App got its status, by name."""
        self.ready: dict[str, float] = {}
        """When each App was Ready, or a bare Deployment available, by name."""
        self.gone: dict[str, float] = {}
        """When each App was gone, by name."""
        self.arrived: dict[str, dict[str, float]] = defaultdict(dict)
        """Since when each child is there, by App and kind."""
        self._woken = asyncio.Event()

    async def prepare(self) -> None:
        """Serve the App kind in a namespace."""
        await self._kube.apply(api.crd(), field_manager="bench")
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await self._kube.create(namespace, field_manager="bench")
        for _ in range(600):
            with contextlib.suppress(errors.NotFound):
                await self._kube.list(kinds.APP, NAMESPACE)
                return
            await asyncio.sleep(0.05)
        raise RuntimeError("the App kind is not served")

    async def create(self, names: list[str]) -> None:
        """Create Apps, several at a time."""
        await _for_each(names, self.create_one)

    async def remove(self, names: list[str]) -> None:
        """Ask for the deletion of Apps, several at a time."""
        await _for_each(names, functools.partial(self.delete, kinds.APP))

    async def create_one(self, name: str) -> float:
        """Create an App; return when the server had it."""
        app = api.App(
            name=name,
            image=IMAGE,
            host=f"{name}.example.com",
            env=[{"name": "MODE", "value": "production"}, {"name": "LEVEL", "value": "info"}],
        )
        await self._kube.create(app.manifest(NAMESPACE), field_manager="bench")
        return time.monotonic()

    async def create_bare(self, name: str) -> float:
        """Create a Deployment like an App's without any App; return when the server had it."""
        selector = {"bare": name}
        pod = {"containers": [{"name": "app", "image": IMAGE}]}
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": selector},
                "template": {"metadata": {"labels": selector}, "spec": pod},
            },
        }
        await self._kube.create(body, field_manager="bench")
        return time.monotonic()

    async def patch(self, name: str, body: dict[str, Any]) -> None:
        """Change an App."""
        await self._kube.patch(kinds.APP, name, NAMESPACE, body, field_manager="bench")

    async def delete(self, kind: kinds.Kind, name: str) -> float:
        """Delete an object; return when it was asked for."""
        asked = time.monotonic()
        await self._kube.delete(kind, name, NAMESPACE)
        return asked

    async def account(self, folder: Path) -> Path:
        """Make a service account, served as the operator's pod is; return its kubeconfig."""
        name = "bench-operator"
        metadata = {"name": name, "namespace": NAMESPACE}
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        await self._kube.create(body, field_manager="bench")
        flow = manifests.flow_schema([{"kind": "ServiceAccount", **metadata}])
        await self._kube.create(flow, field_manager="bench")
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = await self._kube.request("POST", path, body=asked)
        config = orjson.loads(self.kubeconfig.read_bytes())
        config["users"][0]["user"] = {"token": answer["status"]["token"]}
        made = folder / "account.kubeconfig"
        made.touch(mode=0o600)
        made.write_bytes(orjson.dumps(config))
        return made

    async def until_reported(self, names: Iterable[str], seconds: float = 1800.0) -> float:
        """Wait until every App has a status; return when the last got it."""
        return await self._until_all(self.reported, names, seconds)

    async def until_ready(self, names: Iterable[str], seconds: float = 300.0) -> float:
        """Wait until every App is Ready; return when the last was."""
        return await self._until_all(self.ready, names, seconds)

    async def until_gone(self, names: Iterable[str], seconds: float = 1800.0) -> float:
        """Wait until every App is gone; return when the last was."""
        return await self._until_all(self.gone, names, seconds)

    async def until_arrived(self, name: str, seconds: float = 60.0) -> float:
        """Wait until all children of an App are there; return when the last came."""
        await self._until(lambda: len(self.arrived[name]) == len(CHILDREN), seconds)
        return max(self.arrived[name].values())

    async def until_restored(
        self, name: str, kind: kinds.Kind, since: float, seconds: float = 60.0
    ) -> float:
        """Wait until a child that went after *since* is there again; return when it came."""
        await self._until(lambda: self.arrived[name].get(kind.kind, 0.0) > since, seconds)
        return self.arrived[name][kind.kind]

    async def check(self, names: list[str]) -> None:
        """Read everything back.

        Raises:
            Unequal: an App lacks its status or a child of its own.
        """
        apps = {each["metadata"]["name"]: each for each in await self._list(kinds.APP)}
        for kind in CHILDREN:
            owners = {
                owner["uid"]
                for each in await self._list(kind)
                for owner in each["metadata"].get("ownerReferences", ())
            }
            missing = [name for name in names if apps[name]["metadata"]["uid"] not in owners]
            if missing:
                raise Unequal(f"{len(missing)} Apps without {kind.kind}: {missing[:3]}")
        bare = [name for name in names if not apps[name].get("status", {}).get("conditions")]
        if bare:
            raise Unequal(f"{len(bare)} Apps without status: {bare[:3]}")

    async def check_empty(self) -> None:
        """Read everything back.

        Raises:
            Unequal: an App or a child of one is left.
        """
        for kind in (kinds.APP, *CHILDREN):
            if left := [each["metadata"]["name"] for each in await self._list(kind)]:
                raise Unequal(f"{len(left)} of {kind.kind} are left: {left[:3]}")

    async def writes(self) -> dict[str, float]:
        """Count the writes that the server took in so far, by verb and resource; no Events."""
        text = await self._kube.request("GET", "/metrics")
        found: dict[str, float] = defaultdict(float)
        for code, resource, verb, count in _WRITES.findall(text):
            if resource not in _NOT_COUNTED:
                ending = "" if code.startswith("2") else f" {code}"
                found[f"{verb} {resource}{ending}"] += float(count)
        return found

    @contextlib.asynccontextmanager
    async def watching(self, *, children: bool = False) -> AsyncIterator[Self]:
        """Note what happens while the block runs."""
        self.arrived.clear()  # what is there comes anew: then the watches run
        watched = [kinds.APP, *(CHILDREN if children else ())]
        tasks = [asyncio.create_task(self._watch(kind)) for kind in watched]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_all(
        self, seen: Mapping[str, float], names: Iterable[str], seconds: float
    ) -> float:
        wanted = tuple(names)
        missing = list(wanted)

        def complete() -> bool:
            while missing and missing[-1] in seen:
                missing.pop()
            return not missing

        await self._until(complete, seconds)
        return max(seen[name] for name in wanted)

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                self._woken.clear()
                await self._woken.wait()

    async def _list(self, kind: kinds.Kind) -> list[dict[str, Any]]:
        return (await self._kube.list(kind, NAMESPACE)).items

    async def _watch(self, kind: kinds.Kind) -> None:
        params = {"watch": "true", "timeoutSeconds": "3600"}
        lines = self._kube.lines(kind.path(NAMESPACE), params=params, silence_seconds=3600)
        async with contextlib.aclosing(lines):
            async for line in lines:
                now, event = time.monotonic(), orjson.loads(line)
                (self._app_seen if kind is kinds.APP else self._child_seen)(event, now)
                self._woken.set()

    def _app_seen(self, event: dict[str, Any], now: float) -> None:
        name = event["object"]["metadata"]["name"]
        if event["type"] == "DELETED":
            self.gone[name] = now
        found = event["object"].get("status", {}).get("conditions", [])
        if found:
            self.reported.setdefault(name, now)
        if any(each["type"] == "Ready" and each["status"] == "True" for each in found):
            self.ready.setdefault(name, now)

    def _child_seen(self, event: dict[str, Any], now: float) -> None:
        child = event["object"]
        owners = child["metadata"].get("ownerReferences")
        if not owners:
            if child.get("status", {}).get("availableReplicas"):
                self.ready.setdefault(child["metadata"]["name"], now)
        elif event["type"] == "DELETED":
            self.arrived[owners[0]["name"]].pop(child["kind"], None)
        else:
            self.arrived[owners[0]["name"]].setdefault(child["kind"], now)


async def _for_each(names: Iterable[str], act: Callable[[str], Awaitable[float]]) -> None:
    left = iter(names)

    async def work() -> None:
        for name in left:
            await act(name)

    await asyncio.gather(*(work() for _ in range(_CREATORS)))


@contextlib.contextmanager
def _server() -> Iterator[api_server.ApiServer]:
    with api_server.run_api_server() as server:
        yield server


@contextlib.asynccontextmanager
async def fresh() -> AsyncIterator[World]:
    """Start a server of its own with nothing in it."""
    with _server() as server:
        async with client.Client.from_kubeconfig(Path(server.kubeconfig)) as kube:
            made = World(server.kubeconfig, kube)
            await made.prepare()
            yield made


@contextlib.asynccontextmanager
async def with_machines(count: int) -> AsyncIterator[World]:
    """Start a whole control plane and simulated machines, on which pods run in name only."""
    with tempfile.TemporaryDirectory(prefix="bex-bench-") as home:
        instance = await asyncio.to_thread(_start_cluster, Path(home), count)
        try:
            async with client.Client.from_kubeconfig(instance.kubeconfig) as kube:
                made = World(instance.kubeconfig, kube)
                await made.prepare()
                yield made
        finally:
            await asyncio.to_thread(teardown.destroy, instance)


def _start_cluster(home: Path, count: int) -> instances.Instance:
    made = embedded.make_embedded("bench", 97, home, kind="simulated").instance
    inputs = {"instance": made.to_inputs()}
    try:
        providers.HostProvider().create(inputs)
        providers.ClusterProvider().create(inputs)
        fleet = [machine_config.Machine(f"m{number}", 1) for number in range(count)]
        simulated.ensure_nodes(made, fleet)
    except BaseException:
        teardown.destroy(made)
        raise
    return made
