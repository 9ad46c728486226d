"""Stopping a run: the first Ctrl-C lets what is in flight finish, the second one does not."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def watched(stopping: threading.Event, say: Callable[[str], None]) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `stopping`; outside the main thread do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()
        say("stopping: operations in flight are finished and saved; once more to stop at once")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
