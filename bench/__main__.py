"""`python -m bench [--rounds 5] [--only NAME]`: what bex costs over doing it by hand.

How to read it. Every round brings two clusters up and takes them down again, one by `bex` and one
by `bench/by_hand` (the same binaries with the same flags, started by a plain script: no state, no
supervisor, no operator), in the order A B, then B A, and so on, so that a machine that grows busy
weighs on both. A row's ratio is the median over the rounds of bex's seconds divided by the other
side's of the same round; next to it the lowest and the highest. Seconds are medians and are only
for orientation: compare ratios, not seconds, between machines. Programs and images are built
beforehand (a warm start). What a row counts is read back from the API server before it counts.

up       from nothing to the first 200 through the edge: `bex up` / by hand
machine  one more machine until its node is Ready: `bex machines scale` / by hand
app      `kubectl apply` of an App to its first 200 / of the Deployment, Service and Ingress that
         the operator renders of it, on the same stack
again    `bex up` with nothing to do, against `bex preview` and against importing Pulumi alone
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from bench import comparisons, measuring, sides

AIMS = {"up": 1.5, "machine": 1.3, "app": 1.15}
NAMES = (*AIMS, "again")


class Bench:
    """Two sides and what was found of them, round by round."""

    def __init__(self, folder: Path, only: set[str]) -> None:
        self._only = only
        self._bex, self._hand = sides.Bex(folder), sides.Hand(folder)
        self.pairs: dict[str, list[measuring.Pair]] = defaultdict(list)

    def prepare(self) -> None:
        """Build what is missing, so that no round pays for it."""
        self._hand.prepare()
        self._bex.prepare()

    def round(self, number: int) -> None:
        """Let each side live once; the first of an even round is bex."""
        found: dict[str, dict[str, float]] = {}
        order: list[sides.Side] = [self._bex, self._hand]
        for side in order if number % 2 == 0 else reversed(order):
            if side is self._bex or self._only & {"up", "machine"}:
                found[side.name] = self._life(side, number)
        ours, theirs = found["bex"], found.get("by hand", {})
        for name, seconds in ours.items():
            if name in theirs and name in AIMS:
                self._add(name, seconds, theirs[name])

    def tear_down(self) -> None:
        """Leave nothing, whatever happened."""
        for side in (self._hand, self._bex):
            try:
                side.down()
            except (measuring.BenchError, OSError) as failed:
                print(f"{side.name}: {failed}", file=sys.stderr)

    def _life(self, side: sides.Side, number: int) -> dict[str, float]:
        found: dict[str, float] = {}
        try:
            found["up"], up_end = comparisons.up(side)
            machine_end = 0.0
            if "machine" in self._only:
                found["machine"], machine_end = comparisons.add_machine(side)
            if side is self._bex:  # the script by hand does not wait for what it started
                found |= {"end of `bex up`": up_end}
                found |= {"end of `bex machines scale`": machine_end} if machine_end else {}
            if side is self._bex and "app" in self._only:
                self._apps(number)
            if side is self._bex and "again" in self._only:
                self._again()
        finally:
            side.down()
        _say(f"round {number + 1}, {side.name}", found)
        return found

    def _apps(self, number: int) -> None:
        kubectl = self._hand.kubectl()
        ways: dict[str, Callable[[sides.Bex, str, str], float]] = {
            "with": comparisons.create_app,
            "plain": comparisons.create_objects,
        }
        found: dict[str, float] = {}
        for pair in range(2):
            for way in sorted(ways, reverse=(number + pair) % 2 == 0):
                found[way] = ways[way](self._bex, kubectl, f"{way}{pair}")
            self._add("app", found["with"], found["plain"])
            _say(f"round {number + 1}, app", found)

    def _again(self) -> None:
        found = comparisons.again(self._bex)
        self._add("again / preview", found["second up"], found["preview"])
        self._add("again / imports", found["second up"], found["imports"])
        _say("again", dict(found))

    def _add(self, name: str, ours: float, theirs: float) -> None:
        self.pairs[name].append(measuring.Pair(ours, theirs))


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="bex against by hand")
    parser.add_argument("--rounds", type=int, default=5, help="how many (default: 5)")
    parser.add_argument("--only", choices=NAMES, action="append", help="may be given repeatedly")
    asked = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("bench makes network namespaces and machines: run it as root")
    # A short path: unix sockets lie below it.
    folder = Path(tempfile.mkdtemp(prefix="bxb"))
    bench = Bench(folder, set(asked.only or NAMES))
    started = time.monotonic()
    try:
        bench.prepare()
        for number in range(asked.rounds):
            bench.round(number)
    except BaseException:
        bench.tear_down()
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _print_table(bench, asked.rounds, time.monotonic() - started)


def _say(what: str, found: dict[str, float]) -> None:
    shown = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found.items())
    print(f"{what}: {shown}", flush=True)


def _print_table(bench: Bench, rounds: int, seconds: float) -> None:
    load = os.getloadavg()[1]
    print(f"\n{rounds} rounds in {seconds:.0f} s, {os.cpu_count()} cores, load {load:.1f}\n")
    print(f"{'':18}{'bex':>8}{'other':>9}{'ratio':>8}{'lowest':>8}{'highest':>9}{'aim':>7}")
    for name, pairs in bench.pairs.items():
        found = measuring.summarize(pairs)
        aim = f"{AIMS[name]:.2f}" if name in AIMS else ""
        print(
            f"{name:18}{found.ours:6.2f} s{found.theirs:7.2f} s{found.ratio:8.2f}"
            f"{found.lowest:8.2f}{found.highest:9.2f}{aim:>7}"
        )


if __name__ == "__main__":
    try:
        main()
    except measuring.BenchError as failed:
        raise SystemExit(f"bench: {failed}") from failed
