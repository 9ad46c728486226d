"""A stream of requests that does not wait for answers, and what became of every one of them."""

import asyncio
import contextlib
import threading
import time
from types import TracebackType
from typing import Self

import aiohttp

ANSWER_SECONDS = 60.0
"""A request without an answer after so long is lost."""
IN_FLIGHT = 400
"""On a slow host the stream slows down instead of piling up."""


class Load:
    """Sends numbered requests to one host of the edge at *per_second* while the block runs.

    Every third comes on a connection of its own. What is answered with 200 and its own number
    counts; everything else is in `lost`, with the number and the reason.
    """

    def __init__(self, port: int, host: str, *, per_second: int = 200) -> None:
        self._url = f"http://127.0.0.1:{port}/"
        self._host = host
        self._pause = 1 / per_second
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.sent = 0
        self.answered: set[int] = set()
        self.lost: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        room = asyncio.Semaphore(IN_FLIGHT)
        async with contextlib.AsyncExitStack() as stack:
            kept, fresh = [
                await stack.enter_async_context(
                    aiohttp.ClientSession(
                        connector=aiohttp.TCPConnector(limit=0, force_close=is_fresh),
                        headers={"Host": self._host},
                        timeout=timeout,
                    )
                )
                for is_fresh in (False, True)
            ]
            asking = await stack.enter_async_context(asyncio.TaskGroup())
            due = time.monotonic()
            while not self._ended.is_set():
                await room.acquire()
                session = fresh if self.sent % 3 == 0 else kept
                asking.create_task(self._ask(session, self.sent, room))
                self.sent += 1
                due = max(due + self._pause, time.monotonic() - 1)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _ask(
        self, session: aiohttp.ClientSession, number: int, room: asyncio.Semaphore
    ) -> None:
        began = time.monotonic()
        try:
            async with session.get(f"{self._url}?id={number}") as answer:
                text = await answer.text()
                if answer.status == 200 and f"GET /?id={number} " in text:
                    self.answered.add(number)
                else:
                    self.lost.append(f"{number}: {answer.status} {text[:200]!r}")
        except (aiohttp.ClientError, TimeoutError, OSError) as failed:
            after = time.monotonic() - began
            self.lost.append(f"{number} after {after:.2f} s: {failed!r}")
        finally:
            room.release()
