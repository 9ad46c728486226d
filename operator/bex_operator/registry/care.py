"""Asks the platform's own registry what it holds and how full it is, and to let images go."""

import asyncio
import http.client
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from bex_operator.api import images
from bex_operator.plan import collection, tokens
from bex_operator.registry import errors

SECONDS = 30.0
COLLECT_SECONDS = 600.0
"""A collection goes through every file of the registry."""
TOKEN_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Usage:
    """How full the registry's disk is, in bytes."""

    capacity: int
    free: int
    used: int
    """By the registry itself."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a collection did, or would have done."""

    manifests: int
    blobs: int
    freed: int
    usage: Usage


class Care:
    """The registry at *url*, which lets in whoever has its *key*; without one, it asks for none."""

    def __init__(self, url: str, key: Path | None = None) -> None:
        self._url = url
        self._key = key

    async def usage(self) -> Usage:
        """Ask how full it is.

        Raises: errors.Unavailable.
        """
        return _usage(await self._ask("GET", "usage"))

    async def inventory(self) -> list[collection.Manifest]:
        """List every manifest that it has.

        Raises: errors.Unavailable.
        """
        return [
            collection.Manifest(
                repository=each["repository"],
                digest=each["digest"],
                tags=tuple(each.get("tags", ())),
                mentions=tuple(each.get("mentions", ())),
                subject=each.get("subject", ""),
                touched=each["touched"],
            )
            for each in await self._ask("GET", "inventory")
        ]

    async def collect(
        self,
        going: Sequence[collection.Manifest],
        *,
        dry_run: bool = False,
        grace_seconds: int = images.GRACE_SECONDS,
    ) -> Report:
        """Let *going* go unless it was touched since it was listed, and whatever nobody names then.

        Raises: errors.Unavailable.
        """
        order = {
            "delete": [
                {"repository": each.repository, "digest": each.digest, "touched": each.touched}
                for each in going
            ],
            "dryRun": dry_run,
            "graceSeconds": grace_seconds,
        }
        made = await self._ask("POST", "collect", order)
        return Report(made["manifests"], made["blobs"], made["freedBytes"], _usage(made))

    async def _ask(self, method: str, what: str, body: Any = None) -> Any:
        content = None if body is None else orjson.dumps(body)
        # Asked so seldom that a thread costs less than a library for it would.
        return await asyncio.to_thread(self._answer, method, what, content)

    def _answer(self, method: str, what: str, content: bytes | None) -> Any:
        parts = urlsplit(self._url)
        limit = SECONDS if content is None else COLLECT_SECONDS
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=limit)
        try:
            connection.request(method, f"/bex/{what}", content, self._headers())
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != http.client.OK:
                said = text.decode(errors="replace").strip()[:200]
                raise errors.Unavailable(f"the registry answers {answer.status}: {said}")
            return orjson.loads(text)
        except (http.client.HTTPException, OSError, ValueError) as exc:
            raise errors.Unavailable(
                f"the registry does not answer ({type(exc).__name__})"
            ) from exc
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        told = {"Content-Type": "application/json", "User-Agent": "bex"}
        if self._key is not None:
            expires = int(time.time()) + TOKEN_SECONDS
            token = tokens.sign_care(self._key.read_bytes(), expires)
            told["Authorization"] = f"Bearer {token}"
        return told


def _usage(answer: Any) -> Usage:
    return Usage(answer["capacityBytes"], answer["freeBytes"], answer["usedBytes"])
