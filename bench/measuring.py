"""Clocks and ratios: polls the outside until it answers, compares pairs of one round."""

from __future__ import annotations

import http.client
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

POLL_SECONDS = 0.05
WAIT_SECONDS = 240.0


class BenchError(RuntimeError):
    """Something that is measured did not come about."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What one round found, in seconds."""

    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        """Above 1: bex is slower."""
        return self.ours / self.theirs


@dataclass(frozen=True, slots=True)
class Summary:
    """All rounds of one comparison."""

    ours: float
    """Median in seconds, as theirs."""
    theirs: float
    ratio: float
    """Median of the rounds' own ratios."""
    lowest: float
    highest: float


def summarize(pairs: Sequence[Pair]) -> Summary:
    """Reduce rounds to medians and extremes."""
    ratios = [pair.ratio for pair in pairs]
    return Summary(
        statistics.median(pair.ours for pair in pairs),
        statistics.median(pair.theirs for pair in pairs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
    )


def edge_answers(port: int, host: str) -> bool:
    """Whether the edge answers 200 for *host*."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": host})
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def seconds_until(
    is_true: Callable[[], bool], *, since: float, command: subprocess.Popen[str], what: str
) -> float:
    """Poll until *is_true*; seconds on the monotonic clock from *since*.

    Raises: BenchError (the command that should bring it about failed, or it takes too long).
    """
    while True:
        found = is_true()
        now = time.monotonic()
        if found:
            return now - since
        if command.poll():
            raise BenchError(f"{what}: the command failed\n{command.communicate()[0]}")
        if now - since > WAIT_SECONDS:
            raise BenchError(f"{what}: not after {WAIT_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def start(command: Sequence[str], **options: object) -> subprocess.Popen[str]:
    """Start a command whose output is kept for the case that it fails."""
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )


def finish(command: subprocess.Popen[str], what: str) -> str:
    """Wait for the end of a command; return what it printed.

    Raises: BenchError (it failed).
    """
    output, _ = command.communicate(timeout=WAIT_SECONDS)
    if command.returncode:
        raise BenchError(f"{what} exited with {command.returncode}\n{output}")
    return output


def timed(command: Sequence[str], what: str, **options: object) -> float:
    """Seconds that a command takes from start to end."""
    since = time.monotonic()
    finish(start(command, **options), what)
    return time.monotonic() - since
