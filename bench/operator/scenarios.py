"""What each operator has to do, and the figures of it. Every run ends with the state read back."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from bench.operator import processes, sides, world
from bex_operator.kube import kinds

Figures = dict[str, float]
SAMPLES = 500
CHANGES = 100
NEWCOMERS = 100
MACHINES = 100
_NEWCOMER_PAUSE_SECONDS = 0.1
_ARRIVAL_PAUSE_SECONDS = 0.1
_DELETED = (kinds.DEPLOYMENT, kinds.SERVICE, kinds.INGRESS)


async def work(side: sides.Side, count: int, folder: Path) -> Figures:
    """Let it act on *count* new Apps, restart it, and disturb it while it is idle."""
    names = _names(count)
    async with world.fresh() as made:
        empty = await _idle(side, made, folder)
        await made.create(names)
        found = await _first_run(side, made, names, folder)
        found["KiB/App"] = 1024 * (found["rss MiB"] - empty.rss_mib) / count
        found |= await _restarted(side, made, names, folder)
    return found


async def newcomer(side: sides.Side, count: int, folder: Path) -> Figures:
    """Restart it over *count* Apps and create new ones, from the start of the process on.

    Those created before it reported the first of them waited for it to learn what there is; those
    after that had only its backlog before them.
    """
    names = _names(count)
    async with world.fresh() as made:
        await made.create(names)
        await _first_run(side, made, names, folder)
        process = side.start(made.kubeconfig, folder)
        try:
            async with made.watching():
                born: dict[str, float] = {}
                for number in range(NEWCOMERS):
                    name = f"new-{number:03d}"
                    born[name] = await made.create_one(name)
                    await asyncio.sleep(_NEWCOMER_PAUSE_SECONDS)
                await made.until_reported(born)
        finally:
            process.end()
        waits = {name: made.reported[name] - at for name, at in born.items()}
        begun = min(made.reported[name] for name in born)
    backlog = [waits[name] for name, at in born.items() if at > begun]
    return {
        "newcomer worst s": max(waits.values()),
        "newcomer median s": statistics.median(waits.values()),
        "first newcomer after start s": begun - process.started,
        "newcomer in backlog worst s": max(backlog),
    }


async def flood(side: sides.Side, count: int, folder: Path) -> Figures:
    """Create *count* Apps at once while it runs, and delete them all at once: nothing is left."""
    names = _names(count)
    async with world.fresh() as made:
        process = side.start(made.kubeconfig, folder)
        try:
            await process.until_quiet()
            async with made.watching():
                begun, before = time.monotonic(), await made.writes()
                await made.create(names)
                asked = time.monotonic()
                reported = await made.until_reported(names)
                await process.until_quiet()
                await made.check(names)
                writes = _difference(before, await made.writes())
                full, ended = process.usage(), time.monotonic()
                await made.remove(names)
                gone = await made.until_gone(names)
            await process.until_quiet()
            await made.check_empty()
            after = process.usage()
        finally:
            process.end()
    print(f"  {side.name}: {dict(sorted(writes.items()))}", flush=True)
    return {
        "asked for apps/s": count / (asked - begun),
        "apps/s": count / (reported - begun),
        "writes/app": sum(writes.values()) / count - 1,
        "gone apps/s": count / (gone - ended),
        "cpu ms/app": 1000 * full.cpu_seconds / count,
        "cpu ms/app with its end": 1000 * after.cpu_seconds / count,
        "rss MiB": full.rss_mib,
        "peak MiB": after.peak_mib,
    }


async def path(side: sides.Side, count: int, folder: Path) -> Figures:
    """Create *count* Apps, ten a second, beside controllers and machines; wait until all serve."""
    async with world.with_machines(MACHINES) as made:
        async with made.watching(children=True):
            bare = await _arriving(made, made.create_bare, [f"bare-{n:04d}" for n in range(count)])
            process = side.start(made.kubeconfig, folder)
            try:
                await process.until_quiet()
                apps = await _arriving(made, made.create_one, _names(count))
            finally:
                process.end()
        await made.check(_names(count))
    return {
        **_quantiles("App Ready", apps, "s"),
        **_quantiles("bare Deployment available", bare, "s"),
    }


async def limits(side: sides.Side, count: int, folder: Path) -> Figures:
    """Let it act as a service account, or, where it has no limits, as one whom none bind."""
    names = _names(count)
    async with world.fresh() as made:
        await made.create(names)
        freed = side.name == "unlimited"
        kubeconfig = made.kubeconfig if freed else await made.account(folder)
        found = await _first_run(side, made, names, folder, kubeconfig)
    return {name: found[name] for name in ("apps/s", "cpu ms/app")}


def _names(count: int) -> list[str]:
    return [f"web-{number:05d}" for number in range(count)]


async def _idle(side: sides.Side, made: world.World, folder: Path) -> processes.Usage:
    """Tell what it takes without any App."""
    process = side.start(made.kubeconfig, folder)
    try:
        await process.until_quiet()
        return process.usage()
    finally:
        process.end()


async def _first_run(
    side: sides.Side,
    made: world.World,
    names: list[str],
    folder: Path,
    kubeconfig: Path | None = None,
) -> Figures:
    before = await made.writes()
    async with made.watching():
        process = side.start(kubeconfig or made.kubeconfig, folder)
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


async def _restarted(
    side: sides.Side, made: world.World, names: list[str], folder: Path
) -> Figures:
    before = await made.writes()
    process = side.start(made.kubeconfig, folder)
    try:
        seconds = await process.until_quiet() - process.started
        used, writes = process.usage(), _difference(before, await made.writes())
        found = {
            "restart s": seconds,
            "restart cpu s": used.cpu_seconds,
            "restart peak MiB": used.peak_mib,
            "restart writes": sum(writes.values()),
        }
        found |= await _created(made)
        found |= await _restored(made, names) if side.mends else {}
        found |= await _changed(made, process, names[:CHANGES])
    finally:
        process.end()
    await made.check(names)
    return found


async def _created(made: world.World) -> Figures:
    """Time from the creation of an App to the last of its children, when nothing else is on."""
    waits = []
    async with made.watching(children=True):
        for number in range(SAMPLES):
            name = f"late-{number:04d}"
            born = await made.create_one(name)
            waits.append(await made.until_arrived(name) - born)
            await made.until_reported([name])
    return _quantiles("children", waits, "ms")


async def _restored(made: world.World, names: Sequence[str]) -> Figures:
    """Time from asking for the deletion of a child to its being there again, one after another."""
    waits = []
    async with made.watching(children=True):
        for name in names:
            await made.until_arrived(name)
        chosen = itertools.product(names, _DELETED)
        for name, kind in itertools.islice(chosen, SAMPLES):
            asked = await made.delete(kind, name)
            waits.append(await made.until_restored(name, kind, asked) - asked)
    return _quantiles("restored", waits, "ms")


async def _changed(made: world.World, process: processes.Process, names: Sequence[str]) -> Figures:
    """Count what it writes for a change: of one child, and of nothing that concerns it."""

    async def count(change: Callable[[str], Mapping[str, object]]) -> float:
        before = await made.writes()
        for name in names:
            await made.patch(name, dict(change(name)))
        await process.until_quiet()
        writes = sum(_difference(before, await made.writes()).values())
        return (writes - len(names)) / len(names)

    return {
        "writes/change": await count(lambda name: {"spec": {"host": f"{name}.example.org"}}),
        "writes/no change": await count(lambda name: {"metadata": {"annotations": {"a": name}}}),
    }


async def _arriving(
    made: world.World, create: Callable[[str], Awaitable[float]], names: Sequence[str]
) -> list[float]:
    """Create ten a second, however long each takes; return how long each was on its way."""
    born: dict[str, float] = {}

    async def one(name: str) -> None:
        born[name] = await create(name)

    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number, name in enumerate(names):
            due = begun + number * _ARRIVAL_PAUSE_SECONDS
            await asyncio.sleep(max(due - time.monotonic(), 0.0))
            group.create_task(one(name))
    await made.until_ready(names)
    return [made.ready[name] - at for name, at in born.items()]


def _quantiles(what: str, seconds: Sequence[float], unit: str) -> Figures:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    factor = {"s": 1.0, "ms": 1000.0}[unit]
    return {f"{what} p50 {unit}": factor * cuts[49], f"{what} p99 {unit}": factor * cuts[98]}


def _difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    found = {key: after[key] - before.get(key, 0.0) for key in after}
    return {key: value for key, value in found.items() if value}
