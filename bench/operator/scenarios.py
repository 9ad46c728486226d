"""What each operator has to do, and the figures of it. Every run ends with the state read back."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from bench.operator import sides, world

Figures = dict[str, float]
SAMPLES = 100
_NEWCOMER_PAUSE_SECONDS = 0.1


async def create_and_restart(
    side: sides.Side, count: int, folder: Path, *, samples: int = 0
) -> Figures:
    """Let it act on *count* new Apps, restart it, and create Apps one by one while it is idle."""
    names = [f"web-{number:05d}" for number in range(count)]
    async with world.fresh() as made:
        await made.create(names)
        found = await _first_run(side, made, names, folder)
        found |= await _second_run(side, made, names, folder, samples)
    return found


async def newcomer(side: sides.Side, count: int, folder: Path) -> Figures:
    """Restart it over *count* Apps and create new ones while it looks at them all."""
    names = [f"web-{number:05d}" for number in range(count)]
    async with world.fresh() as made:
        await made.create(names)
        await _first_run(side, made, names, folder)
        process = side.start(made.server.kubeconfig, folder)
        try:
            async with made.watching():
                quiet = asyncio.create_task(process.until_quiet())
                born: dict[str, float] = {}
                while not quiet.done() and len(born) < 200:
                    name = f"new-{len(born):03d}"
                    born[name] = await made.create_one(name)
                    await asyncio.sleep(_NEWCOMER_PAUSE_SECONDS)
                    if time.monotonic() - process.started > 5:
                        break
                await made.until_reported(list(born))
                await quiet
            waits = [made.reported[name] - at for name, at in born.items()]
        finally:
            process.end()
    return {"newcomer worst s": max(waits), "newcomer median s": statistics.median(waits)}


async def _first_run(
    side: sides.Side, made: world.World, names: list[str], folder: Path
) -> Figures:
    before = await made.writes()
    async with made.watching():
        process = side.start(made.server.kubeconfig, folder)
        try:
            seconds = await made.until_reported(names) - process.started
            used = process.usage()
            await process.until_quiet()
            after = process.usage()
        finally:
            process.end()
    await made.check(names)
    writes = _difference(before, await made.writes())
    print(f"  {side.name}: {dict(sorted(writes.items()))}", flush=True)
    return {
        "apps/s": len(names) / seconds,
        "cpu ms/app": 1000 * after.cpu_seconds / len(names),
        "cpu ms/app to last status": 1000 * used.cpu_seconds / len(names),
        "rss MiB": after.rss_mib,
        "peak MiB": after.peak_mib,
        "writes/app": sum(writes.values()) / len(names),
    }


async def _second_run(
    side: sides.Side, made: world.World, names: list[str], folder: Path, samples: int
) -> Figures:
    before = await made.writes()
    process = side.start(made.server.kubeconfig, folder)
    try:
        seconds = await process.until_quiet() - process.started
        used, writes = process.usage(), _difference(before, await made.writes())
        found = {
            "restart s": seconds,
            "restart cpu s": used.cpu_seconds,
            "restart peak MiB": used.peak_mib,
            "restart writes": sum(writes.values()),
        }
        if samples:
            found |= await _latency(made, samples)
    finally:
        process.end()
    await made.check(names)
    return found


async def _latency(made: world.World, samples: int) -> Figures:
    """Seconds from the creation of an App to the last of its children, when nothing else is on."""
    waits = []
    async with made.watching(children=True):
        for number in range(samples):
            name = f"late-{number:04d}"
            born = await made.create_one(name)
            waits.append(1000 * (await made.until_arrived(name) - born))
            await made.until_reported([name])
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    return {"children p50 ms": cuts[49], "children p99 ms": cuts[98]}


def _difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    found = {key: after[key] - before.get(key, 0.0) for key in after}
    return {key: value for key, value in found.items() if value}
