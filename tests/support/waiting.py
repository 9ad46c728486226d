"""Waiting for what happens by itself: long enough for a busy machine, never a fixed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bex_operator.kube import errors

SECONDS = 120.0
"""Whatever takes longer never comes. A test that passes has not waited for it."""

NOT_YET = (OSError, errors.KubeError, AssertionError)
"""A server that is away and a command that failed mean that it has not happened yet."""


def wait_until(check: Callable[[], Any], what: str, seconds: float = SECONDS) -> None:
    """Wait until *check* is true; fail saying *what* was awaited."""
    deadline = time.monotonic() + seconds
    while True:
        failure: BaseException | None = None
        try:
            if check():
                return
        except NOT_YET as exc:
            failure = exc
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}") from failure
        time.sleep(0.1)


async def until(holds: Callable[[], Awaitable[Any]], what: str, seconds: float = SECONDS) -> None:
    """Wait until *holds* is true; fail saying *what* was awaited."""
    deadline = time.monotonic() + seconds
    while not await holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.02)
