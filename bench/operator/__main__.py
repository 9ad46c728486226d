"""`python -m bench.operator [--rounds 5] [--apps 1000] [--side go]`: the operator against peers.

How to read it. Every round starts an etcd and an API server for each side, creates the Apps, and
then starts the operator; the clock runs from the start of the process to the last App's status,
and what it made is read back from the API. Sides take turns in going first. A ratio is the median
over the rounds of bex's figure divided by the peer's of the same round, with the lowest and the
highest beside it: compare ratios, not figures, between machines. Writes are the API server's count.

go        controller-runtime, ten workers, creates children; no status is written twice
go apply  the same by server-side apply, which is what bex does
kopf      Kopf, aiohttp inside the handler
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

from bench.operator import scenarios, sides

NAMES = ("go", "go apply", "kopf")


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.operator")
    parser.add_argument("--rounds", type=int, default=5, help="how many (default: 5)")
    parser.add_argument("--apps", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--side", choices=NAMES, action="append", help="a peer; all by default")
    parser.add_argument("--alone", action="store_true", help="measure bex without a peer")
    parser.add_argument(
        "--newcomer", action="store_true", help="measure new Apps during a restart instead"
    )
    asked = parser.parse_args()
    cache = Path(os.environ.get("BEX_CACHE", Path.home() / ".cache" / "bex")) / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    chosen = () if asked.alone else tuple(asked.side or NAMES)
    contest = [sides.bex(cache), *(_peer(name, cache) for name in chosen)]
    found: dict[str, list[scenarios.Figures]] = defaultdict(list)
    for number in range(asked.rounds):
        turn = number % len(contest)
        for side in (*contest[turn:], *contest[:turn]):
            figures = _measure(side, asked)
            found[side.name].append(figures)
            print(f"round {number + 1}, {side.name}: {_shown(figures)}", flush=True)
    _print_table(found, asked.apps)


def _peer(name: str, cache: Path) -> sides.Side:
    return sides.kopf(cache) if name == "kopf" else sides.go(cache, apply=name == "go apply")


def _measure(side: sides.Side, asked: argparse.Namespace) -> scenarios.Figures:
    with tempfile.TemporaryDirectory(prefix="bex-bench-") as folder:
        if asked.newcomer:
            return asyncio.run(scenarios.newcomer(side, asked.apps, Path(folder)))
        samples = scenarios.SAMPLES
        run = scenarios.create_and_restart(side, asked.apps, Path(folder), samples=samples)
        return asyncio.run(run)


def _shown(figures: scenarios.Figures) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in figures.items())


def _print_table(found: dict[str, list[scenarios.Figures]], apps: int) -> None:
    ours = found["bex"]
    print(f"\n{len(ours)} rounds, {apps} Apps; load at the end: {os.getloadavg()[0]:.1f}\n")
    for name in ours[0]:
        line = [f"{name:26}"]
        for side, rounds in found.items():
            line.append(f"{side} {statistics.median(each[name] for each in rounds):8.2f}")
            if side != "bex":
                line.append(_ratio([o[name] for o in ours], [t[name] for t in rounds]))
        print("  ".join(line))


def _ratio(ours: list[float], theirs: list[float]) -> str:
    pairs = [mine / other for mine, other in zip(ours, theirs, strict=True) if other]
    if not pairs:
        return "(-)"
    return f"(x{statistics.median(pairs):.2f}, {min(pairs):.2f}-{max(pairs):.2f})"


if __name__ == "__main__":
    main()
