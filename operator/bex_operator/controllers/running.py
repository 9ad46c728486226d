"""Keeps tasks running beside the work, and ends waits when the process is to stop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, Protocol


class Kept(Protocol):
    """What keeps something current until it is cancelled."""

    async def run(self) -> None:
        """Go on for ever."""


@contextlib.asynccontextmanager
async def beside(kept: Iterable[Kept], stop: asyncio.Event) -> AsyncIterator[None]:
    """Run all of it meanwhile; what dies of a bug ends the process, never goes stale."""
    tasks = [asyncio.create_task(each.run()) for each in kept]

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            stop.set()

    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def unless(stop: asyncio.Event, wanted: Coroutine[Any, Any, None]) -> bool:
    """Wait for *wanted*; give it up and return False if *stop* comes first."""
    waiting, stopping = asyncio.create_task(wanted), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            waiting.result()
            return True
        return False
    finally:
        for task in (waiting, stopping):
            task.cancel()
        await asyncio.gather(waiting, stopping, return_exceptions=True)
