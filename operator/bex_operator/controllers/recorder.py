"""Records Events on Apps, beside the work: a lost Event loses nothing but itself."""

import asyncio
import datetime
import secrets
from collections.abc import Mapping
from typing import Any

import structlog

from bex_operator.api import names
from bex_operator.kube import client, errors
from bex_operator.plan import news

PENDING_LIMIT = 100
DRAIN_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class Recorder:
    """Writes Events in the background; drops them when the API server cannot keep up."""

    def __init__(self, kube: client.Client, instance: str) -> None:
        self._kube = kube
        self._instance = instance
        self._pending: set[asyncio.Task[None]] = set()

    def record(self, manifest: Mapping[str, Any], told: news.News, now: datetime.datetime) -> None:
        """Record *told* about the App object *manifest*."""
        if len(self._pending) >= PENDING_LIMIT:
            return
        task = asyncio.create_task(self._write(self._event(manifest, told, now)))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def drain(self) -> None:
        """Wait a moment for what is under way, and give up the rest."""
        if not self._pending:
            return
        _, late = await asyncio.wait(self._pending, timeout=DRAIN_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _write(self, event: dict[str, Any]) -> None:
        try:
            await self._kube.create(event, field_manager=names.MANAGED_BY)
        except errors.KubeError as exc:
            _log.info("event.lost", reason=event["reason"], error=str(exc)[:300])

    def _event(
        self, manifest: Mapping[str, Any], told: news.News, now: datetime.datetime
    ) -> dict[str, Any]:
        metadata = manifest["metadata"]
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{secrets.token_hex(8)}",
                "namespace": metadata["namespace"],
            },
            "eventTime": now.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": "Warning" if told.warning else "Normal",
            "reason": told.reason,
            "action": told.action,
            "note": told.note,
            "regarding": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "reportingController": f"{names.GROUP}/operator",
            "reportingInstance": self._instance,
        }
