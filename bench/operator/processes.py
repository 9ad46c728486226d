"""What a process has used so far, from /proc, and when it has nothing left to do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

QUIET_SECONDS = 0.5
_SAMPLE_SECONDS = 0.05
_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time and memory of one process."""

    cpu_seconds: float
    rss_mib: float
    peak_mib: float


class Process:
    """A side's process; ended by SIGTERM, killed if it stays."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.started = time.monotonic()
        self._output = log.open("wb")
        self._log = log
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            env=dict(environment),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def usage(self) -> Usage:
        """Read what it has used."""
        fields = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        )
        rss, peak = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        return Usage(self._cpu_seconds(), rss, peak)

    async def until_quiet(self, limit_seconds: float = 600.0) -> float:
        """Wait until it rests; return the moment since when it does.

        It rests when it used at most one tick of processor time in half a second.
        """
        since, used = time.monotonic(), self._cpu_seconds()
        deadline = since + limit_seconds
        while time.monotonic() < deadline:
            await asyncio.sleep(_SAMPLE_SECONDS)
            if self._process.poll() is not None:
                raise RuntimeError(f"it ended: {self._log.read_text()[-2000:]}")
            # One that waits for a processor has work left, however little it gets to use.
            if self._is_runnable() or self._cpu_seconds() - used > 1.5 * _TICK:
                since, used = time.monotonic(), self._cpu_seconds()
            elif time.monotonic() - since >= QUIET_SECONDS:
                return since
        raise RuntimeError(f"it never rests; its log: {self._log}")

    def end(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _is_runnable(self) -> bool:
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/stat")
        return any(task.read_text().rpartition(")")[2].split()[0] == "R" for task in tasks)

    def _cpu_seconds(self) -> float:
        text = Path(f"/proc/{self._process.pid}/stat").read_text()
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) * _TICK
