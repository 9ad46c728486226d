"""`python -m bench.operator [WHAT] [--rounds 5] [--apps N] [--side go]`: bex against its peers.

How to read it. Every round starts an etcd and an API server for each side, creates the Apps, and
then starts the operator; the clock runs from the start of the process to the last App's status,
and what it made is read back from the API. Sides take turns in going first. A ratio is the median
over the rounds of bex's figure divided by the peer's of the same round, with the lowest and the
highest beside it: compare ratios, not figures, between machines. Writes are the API server's count.

go        controller-runtime, ten workers, creates children; no status is written twice
go apply  the same by server-side apply, which is what bex does
kopf      Kopf, aiohttp inside the handler

WHAT is one of these; the goals that it shows stand behind it:

work      1,000 Apps are made, looked at again after a restart, and disturbed (the default)
            P1  apps/s, against go at least 1.0 and against kopf 1.3; again with --apps 10000
            P2  cpu ms/app, at most 1.0 times go's and half of kopf's
            P3  rss MiB, at most 64 and with 10,000 Apps 230; KiB/App, at most 17; restart peak
                MiB, at most 1.3 times rss
            P4  writes/app, 5: a record, a Deployment, a Service, an Ingress and one status;
                writes/change of a host, 2; restart writes and writes/no change, 0
            P5  restart s and restart cpu s, at most 1.0 times go's; with --apps 5000
            P6  children p50 and p99, at most 25 and 150 ms; restored p99, at most 250 ms
newcomer  P5  Apps are created while it restarts over 5,000: in backlog, at most 1 s
path      P7  300 Apps, ten a second, with all controllers, a scheduler and 100 simulated machines:
              App Ready p99, at most 3 s; beside it Deployments made so without any App. bex only
flood     fault 23: 10,000 Apps are created at once under an operator that runs, and all deleted:
              each gets everything, and then nothing is left. P3: rss MiB, at most 230. bex only
limits    P8  bex as a service account against bex with ten times its connections and workers, as
              one whom the server does not limit: apps/s, at most 5 % apart
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from bench.operator import scenarios, sides

PEERS = ("go", "go apply", "kopf")


@dataclass(frozen=True, slots=True)
class What:
    """Something to measure."""

    scenario: Callable[[sides.Side, int, Path], Coroutine[None, None, scenarios.Figures]]
    apps: int
    peers: tuple[str, ...] = PEERS


WHAT = {
    "work": What(scenarios.work, 1000),
    "newcomer": What(scenarios.newcomer, 5000),
    "path": What(scenarios.path, 300, ()),
    "flood": What(scenarios.flood, 10_000, ()),
    "limits": What(scenarios.limits, 1000, ("unlimited",)),
}


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.operator")
    parser.add_argument("what", choices=WHAT, nargs="?", default="work", help="what to measure")
    parser.add_argument("--rounds", type=int, default=5, help="how many (default: 5)")
    parser.add_argument("--apps", type=int, help="how many")
    parser.add_argument("--side", choices=PEERS, action="append", help="a peer; all by default")
    parser.add_argument("--alone", action="store_true", help="measure bex without a peer")
    asked = parser.parse_args()
    what = WHAT[asked.what]
    apps = asked.apps or what.apps
    cache = Path(os.environ.get("BEX_CACHE", Path.home() / ".cache" / "bex")) / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    chosen = () if asked.alone else tuple(asked.side or what.peers)
    contest = [sides.bex(cache), *(_peer(name, cache) for name in chosen)]
    found: dict[str, list[scenarios.Figures]] = defaultdict(list)
    for number in range(asked.rounds):
        turn = number % len(contest)
        for side in (*contest[turn:], *contest[:turn]):
            with tempfile.TemporaryDirectory(prefix="bex-bench-") as folder:
                figures = asyncio.run(what.scenario(side, apps, Path(folder)))
            found[side.name].append(figures)
            print(f"round {number + 1}, {side.name}: {_shown(figures)}", flush=True)
    _print_table(found, apps)


def _peer(name: str, cache: Path) -> sides.Side:
    if name == "unlimited":
        return sides.unlimited(cache)
    return sides.kopf(cache) if name == "kopf" else sides.go(cache, apply=name == "go apply")


def _shown(figures: scenarios.Figures) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in figures.items())


def _print_table(found: dict[str, list[scenarios.Figures]], apps: int) -> None:
    ours = found["bex"]
    print(f"\n{len(ours)} rounds, {apps} Apps; load at the end: {os.getloadavg()[0]:.1f}\n")
    for name in ours[0]:
        line = [f"{name:30}"]
        for side, rounds in found.items():
            if name not in rounds[0]:
                continue
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
