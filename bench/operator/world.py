"""A real etcd and API server with Apps, and what an operator made of them, read back."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import orjson

from bex_operator import api
from bex_operator.kube import client, errors, kinds
from tests.support import api_server

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
    """One server; watches tell when an App was reported and when its children came."""

    def __init__(self, server: api_server.ApiServer, kube: client.Client) -> None:
        self.server = server
        self._kube = kube
        self.reported: dict[str, float] = {}
        """When each App got its status, by name."""
        self.arrived: dict[str, dict[str, float]] = defaultdict(dict)
        """When each child was seen, by App and kind."""
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
        left = iter(names)

        async def work() -> None:
            for name in left:
                await self.create_one(name)

        await asyncio.gather(*(work() for _ in range(_CREATORS)))

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

    async def until_reported(self, names: list[str], seconds: float = 900.0) -> float:
        """Wait until every App has a status; return when the last got it."""
        async with asyncio.timeout(seconds):
            while not all(name in self.reported for name in names):
                self._woken.clear()
                await self._woken.wait()
        return max(self.reported[name] for name in names)

    async def until_arrived(self, name: str, seconds: float = 60.0) -> float:
        """Wait until all children of an App are there; return when the last came."""
        async with asyncio.timeout(seconds):
            while len(self.arrived[name]) < len(CHILDREN):
                self._woken.clear()
                await self._woken.wait()
        return max(self.arrived[name].values())

    async def check(self, names: list[str]) -> None:
        """Read everything back.

        Raises:
            Unequal: an App lacks its status or a child of its own.
        """
        apps = {each["metadata"]["name"]: each for each in await self._list(kinds.APP)}
        for kind in CHILDREN:
            owners = {
                each["metadata"]["ownerReferences"][0]["uid"] for each in await self._list(kind)
            }
            missing = [name for name in names if apps[name]["metadata"]["uid"] not in owners]
            if missing:
                raise Unequal(f"{len(missing)} Apps without {kind.kind}: {missing[:3]}")
        bare = [name for name in names if not apps[name].get("status", {}).get("conditions")]
        if bare:
            raise Unequal(f"{len(bare)} Apps without status: {bare[:3]}")

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
        watched = [kinds.APP, *(CHILDREN if children else ())]
        tasks = [asyncio.create_task(self._watch(kind)) for kind in watched]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _list(self, kind: kinds.Kind) -> list[dict[str, Any]]:
        return (await self._kube.list(kind, NAMESPACE)).items

    async def _watch(self, kind: kinds.Kind) -> None:
        params = {"watch": "true", "timeoutSeconds": "3600"}
        lines = self._kube.lines(kind.path(NAMESPACE), params=params, silence_seconds=3600)
        async with contextlib.aclosing(lines):
            async for line in lines:
                now, event = time.monotonic(), orjson.loads(line)
                metadata = event["object"]["metadata"]
                if kind is not kinds.APP:
                    owner = metadata["ownerReferences"][0]["name"]
                    self.arrived[owner].setdefault(kind.kind, now)
                elif "conditions" in event["object"].get("status", {}):
                    self.reported.setdefault(metadata["name"], now)
                self._woken.set()


@contextlib.contextmanager
def _server() -> Iterator[api_server.ApiServer]:
    with api_server.run_api_server() as server:
        yield server


@contextlib.asynccontextmanager
async def fresh() -> AsyncIterator[World]:
    """Start a server of its own with nothing in it."""
    with _server() as server:
        async with client.Client.from_kubeconfig(Path(server.kubeconfig)) as kube:
            made = World(server, kube)
            await made.prepare()
            yield made
