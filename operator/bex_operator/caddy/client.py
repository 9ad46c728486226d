"""The client of Caddy's admin API on its unix socket. It knows paths and verbs; what a
configuration means is the callers' affair."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import TracebackType
from typing import Any, Self

import aiohttp

from bex_operator.caddy import errors

ASK_TIMEOUT_SECONDS = 3.0
LOAD_TIMEOUT_SECONDS = 30.0
"""A load waits for listeners; certificates of thousands of new hosts take a while to begin."""


@dataclass(frozen=True, slots=True)
class State:
    """Digests of what Caddy holds."""

    config: str
    """Of the configuration; empty if it was not made by us."""
    table: str
    """Of the table of hosts, paths and pods; empty while there is none."""


class Client:
    """Talks to one Caddy. Use as `async with Client(socket)`."""

    def __init__(self, socket: PurePath) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # A load replaces the admin server, so a connection is good for one request only.
        connector = aiohttp.UnixConnector(str(self._socket), force_close=True)
        self._session = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def state(self) -> State:
        """Ask for the digests of what Caddy holds.

        Raises: errors.Unavailable, errors.Refused.
        """
        answer = json.loads(await self._request("GET", "/bex/table"))
        return State(config=str(answer["config"]), table=str(answer["table"]))

    async def config(self) -> Any:
        """Read the configuration that was loaded last; None if there is none.

        Raises: errors.Unavailable, errors.Refused.
        """
        return json.loads(await self._request("GET", "/config/"))

    async def load(self, config: Mapping[str, Any]) -> None:
        """Replace the whole configuration; on refusal the one before stays.

        Raises: errors.Unavailable, errors.Refused.
        """
        await self._request("POST", "/load", config, timeout=LOAD_TIMEOUT_SECONDS)

    async def replace_table(self, table: Mapping[str, Any]) -> None:
        """Replace hosts, paths and pods, without a reload.

        Raises: errors.Unavailable, errors.Refused.
        """
        await self._request("PUT", "/bex/table", table, timeout=LOAD_TIMEOUT_SECONDS)

    async def _request(
        self, method: str, path: str, body: object = None, timeout: float = ASK_TIMEOUT_SECONDS
    ) -> bytes:
        if self._session is None:
            raise RuntimeError("the client is used outside of `async with`")
        try:
            async with self._session.request(
                method,
                f"http://caddy{path}",
                data=None if body is None else io.BytesIO(json.dumps(body).encode()),
                headers={"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=timeout),
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, OSError) as exc:
            raise errors.Unavailable(
                f"Caddy does not answer {method} {path} on {self._socket}: {exc or 'timed out'}"
            ) from exc
        if answer.status >= 400:
            raise errors.Refused(answer.status, _message(content))
        return content


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace")[:500]
