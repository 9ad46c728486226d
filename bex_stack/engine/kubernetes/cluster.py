"""One API server behind a provider: an event loop in a thread of its own, one client on it.

The engine works in threads, the client in asyncio; this is the only place where they meet.
Errors of the client become errors of the engine here.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent import futures
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from bex_operator.kube import client as clients
from bex_operator.kube import errors as kube_errors
from bex_stack.engine import errors
from bex_stack.engine.kubernetes import configuration

_Result = TypeVar("_Result")
START_TIMEOUT_SECONDS = 30.0
PREVIEW_SECONDS = 10.0
"""How long a preview waits for one answer; a silent server is not asked again."""
USER_AGENT = "pulumi-kubernetes"


class Cluster:
    """Runs client calls for threads; connects on first use.

    In a preview (*say* is given) the first call without an answer is the last: it is said, and
    all others end at once.
    """

    def __init__(
        self, config: configuration.Configuration, say: Callable[[str], None] | None = None
    ) -> None:
        self._config = config
        self._say = say
        self._silence: errors.Unreachable | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: clients.Client | None = None
        self._lock = threading.Lock()

    def call(self, action: Callable[[clients.Client], Awaitable[_Result]]) -> _Result:
        """Run one asynchronous action to its end and return its result.

        Raises: Unreachable, or the engine's own errors raised inside; a KubeError about the object
        passes as it is, callers know what it means to them.
        """
        if self._say is None:
            return self._call(action)
        if self._silence is not None:
            raise self._silence
        try:
            return self._call(action, PREVIEW_SECONDS)
        except errors.Unreachable as exc:
            self._fall_silent(exc, self._say)
            raise

    def _fall_silent(self, exc: errors.Unreachable, say: Callable[[str], None]) -> None:
        with self._lock:
            first, self._silence = self._silence is None, exc
        if first:
            say(f"{exc}; what its server would add is not in this preview")

    def _call(
        self,
        action: Callable[[clients.Client], Awaitable[_Result]],
        seconds: float | None = None,
    ) -> _Result:
        client, loop = self._connected()

        async def run() -> _Result:
            return await asyncio.wait_for(action(client), seconds)

        try:
            return asyncio.run_coroutine_threadsafe(run(), loop).result()
        except TimeoutError as exc:
            raise errors.Unreachable(
                f"the cluster at {client.server} does not answer within {seconds:.0f} s"
            ) from exc
        except kube_errors.Unreachable as exc:
            raise errors.Unreachable(
                f"the cluster at {client.server} does not answer: {exc}"
            ) from exc
        except kube_errors.ServerError as exc:
            raise errors.Unreachable(f"the cluster at {client.server} is failing: {exc}") from exc

    def close(self) -> None:
        """Close the connections and end the thread."""
        with self._lock:
            loop, client = self._loop, self._client
            self._loop = self._client = None
        if loop is None or client is None:
            return
        asyncio.run_coroutine_threadsafe(_close(client), loop).result(START_TIMEOUT_SECONDS)
        loop.call_soon_threadsafe(loop.stop)

    def _connected(self) -> tuple[clients.Client, asyncio.AbstractEventLoop]:
        with self._lock:
            if self._client is None or self._loop is None:
                client = self._load()
                self._loop = _start_loop()
                opening = asyncio.run_coroutine_threadsafe(client.__aenter__(), self._loop)
                try:
                    opening.result(START_TIMEOUT_SECONDS)
                except futures.TimeoutError as exc:
                    raise errors.Unreachable("the Kubernetes client did not start in 30 s") from exc
                self._client = client
            return self._client, self._loop

    def _load(self) -> clients.Client:
        context = self._config.context or None
        path = self._config.path()
        try:
            if path is not None:
                return clients.Client.from_kubeconfig(path, context=context, user_agent=USER_AGENT)
            with TemporaryDirectory(prefix="bex-kubeconfig-") as folder:
                copy = Path(folder) / "kubeconfig"
                copy.touch(mode=0o600)
                copy.write_text(self._config.kubeconfig)
                return clients.Client.from_kubeconfig(copy, context=context, user_agent=USER_AGENT)
        except kube_errors.BadKubeconfig as exc:
            raise errors.Unreachable(f"the cluster is not reachable: {exc}") from exc


def _start_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.close()

    threading.Thread(target=run, name="kubernetes", daemon=True).start()
    return loop


async def _close(client: clients.Client) -> None:
    await client.__aexit__(None, None, None)
    # aiohttp needs one round of the loop to close its sockets.
    await asyncio.sleep(0)
