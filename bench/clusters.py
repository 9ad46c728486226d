"""Reads a cluster's state back from its API server, the same way for both sides."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from bex_operator.kube import client as kube
from bex_operator.kube import errors, kinds

T = TypeVar("T")
APPS_NAMESPACE = "bex-apps"


class Api:
    """One connection that is kept, so that asking often costs little."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._client = self._do(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._do(self._client.__aexit__(kind, raised, trace))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def is_node_ready(self, name: str) -> bool:
        """Whether the node is there and Ready."""
        try:
            node = self.get(kinds.NODE, name)
        except errors.KubeError:
            return False
        conditions = node.get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def ready_nodes(self) -> set[str]:
        """Names of the nodes that are Ready."""
        items = self._do(self._client.list(kinds.NODE)).items
        names = (item["metadata"]["name"] for item in items)
        return {name for name in names if self.is_node_ready(name)}

    def available(self, deployment: str) -> int:
        """How many replicas of an app's Deployment are available."""
        found = self.get(kinds.DEPLOYMENT, deployment, APPS_NAMESPACE)
        return int(found.get("status", {}).get("availableReplicas", 0))

    def get(self, kind: kinds.Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Read one object."""
        return self._do(self._client.get(kind, name, namespace))

    def apply(self, wanted: dict[str, Any]) -> None:
        """Let an object be so, whoever had it otherwise."""
        self._do(self._client.apply(wanted, field_manager="bench"))

    async def _open(self) -> kube.Client:
        return await kube.Client.from_kubeconfig(self._kubeconfig).__aenter__()

    def _do(self, asked: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(timeout=30)
