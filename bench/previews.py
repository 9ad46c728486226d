"""`python -m bench.previews [--rounds 5]`: what a preview of each stack costs per resource.

Every round runs `bex preview` of an empty program and of the three checked-in stacks, one after
another, so that a machine that grows busy weighs on all. A stack's figure is the median over the
rounds of (its seconds - the empty program's of the same round) / its resources. Seconds are the
processor's: a preview waits for nothing, and on a busy machine the clock counts others' work.
There is nothing to compare with: no state, no cluster, no account.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEX = Path(sys.executable).with_name("bex")
STACKS = ("embedded", "local", "hetzner")
AIM_MS = 30.0


def main() -> None:
    """Measure, print; fail if a stack misses the aim."""
    parser = argparse.ArgumentParser(prog="python -m bench.previews")
    parser.add_argument("--rounds", type=int, default=5, help="how many (default: 5)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="bxp") as made:
        folder = Path(made)
        empty = lay_out_empty(folder / "empty")
        resources = {stack: count(folder, stack) for stack in STACKS}
        found: dict[str, list[float]] = {stack: [] for stack in STACKS}
        base: list[float] = []
        for _ in range(rounds):
            nothing = timed(folder, empty, "embedded")
            base.append(nothing)
            for stack in STACKS:
                found[stack].append(timed(folder, ROOT, stack) - nothing)
    load = os.getloadavg()[0]
    print(f"{rounds} rounds, {os.cpu_count()} cores, load {load:.1f}; ", end="")
    print(f"empty program {statistics.median(base):.2f} s\n")
    print(f"{'preview of':12}{'resources':>10}{'more':>9}{'each':>10}{'lowest':>10}{'highest':>10}")
    missed = False
    for stack, more in found.items():
        each = [1000 * seconds / resources[stack] for seconds in more]
        median = statistics.median(each)
        missed |= median > AIM_MS
        print(
            f"{stack:12}{resources[stack]:>10}{statistics.median(more):>7.2f} s"
            f"{median:>7.1f} ms{min(each):>7.1f} ms{max(each):>7.1f} ms"
        )
    print(f"\naim: at most {AIM_MS:g} ms each")
    if missed:
        raise SystemExit(1)


def lay_out_empty(project: Path) -> Path:
    """Make a project whose program does nothing."""
    (project / "apps").mkdir(parents=True)
    for name in ("Pulumi.yaml", "Pulumi.embedded.yaml"):
        (project / name).write_text((ROOT / name).read_text())
    (project / "__main__.py").write_text('"""Nothing."""\n')
    return project


def timed(folder: Path, project: Path, stack: str) -> float:
    """Return the processor's seconds that a preview takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    preview(folder, project, stack)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def count(folder: Path, stack: str) -> int:
    """Return how many resources a stack has; the first run also warms caches of files."""
    return len(json.loads(preview(folder, ROOT, stack, "--json"))["steps"])


def preview(folder: Path, project: Path, stack: str, *more: str) -> str:
    """Preview with a state of its own, where nothing is."""
    done = subprocess.run(
        [BEX, "preview", "--stack", stack, "--cwd", str(project), *more],
        env={**os.environ, "BEX_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
