"""Mutation testing of the operator's decisions: every small change must make a unit test fail.

Run by `make mutants`. It works on a copy; what is already known of a mutant is not asked again, so
an interrupted run goes on.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOAL = 0.9
SEED = 20260131
_SETTINGS = """
[tool.pytest.ini_options]
asyncio_mode = "auto"
addopts = "--import-mode=importlib -p no:cacheprovider"

[tool.mutmut]
source_paths = ["src/bex_operator"]
only_mutate = ["src/bex_operator/plan/*"]
do_not_mutate = ["src/bex_operator/plan/edge*"]
pytest_add_cli_args_test_selection = ["tests/bex_operator/plan"]
"""
_CONFTEST = """
import hypothesis

# Slow beside so much else, and asked thousands of times.
hypothesis.settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=30,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("mutants")
"""
_LEFT_OUT = ("__pycache__", "test_edge*")
"""The edge's property tests take too long to be asked thousands of times."""
_SURVIVED, _UNTESTED = 0, frozenset({5, 33})


def main() -> int:
    """Run, print what survived and the share of those killed; 1 if it is below the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to work; kept for the next run")
    parser.add_argument("--python", required=True, help="an interpreter that has mutmut")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--sample", type=int, help="try so many mutants only, drawn at random")
    parser.add_argument("--modules", default="*", help="like `history`; all without it")
    args = parser.parse_args()
    _copy(args.folder)
    chosen = [f"bex_operator.plan.{args.modules}.*"] if args.modules != "*" else []
    if args.sample:
        # An impossible name makes the mutants and runs none.
        _mutmut(args, "nothing")
        known = sorted(_results(args.folder))
        chosen = random.Random(SEED).sample(known, min(args.sample, len(known)))  # noqa: S311
    _mutmut(args, *chosen)
    return _judge(_results(args.folder))


def _copy(folder: Path) -> None:
    for source, target in (
        (ROOT / "operator/bex_operator", folder / "src/bex_operator"),
        (ROOT / "tests/bex_operator/plan", folder / "tests/bex_operator/plan"),
    ):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    (folder / "pyproject.toml").write_text(_SETTINGS)
    (folder / "tests/conftest.py").write_text(_CONFTEST)


def _mutmut(args: argparse.Namespace, *names: str) -> None:
    # The libraries of the project, without the links to its own packages.
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    command = [args.python, "-m", "mutmut", "run", "--max-children", str(args.jobs), *names]
    subprocess.run(
        command, cwd=args.folder, env={**os.environ, "PYTHONPATH": libraries}, check=False
    )


def _results(folder: Path) -> dict[str, int | None]:
    """Return each mutant's end; None for those that were not tried."""
    found: dict[str, int | None] = {}
    for meta in sorted((folder / "mutants/src/bex_operator/plan").glob("*.meta")):
        found |= json.loads(meta.read_text())["exit_code_by_key"]
    return found


def _judge(results: Mapping[str, int | None]) -> int:
    tried = {name: end for name, end in results.items() if end is not None}
    survived = sorted(name for name, end in tried.items() if end == _SURVIVED)
    untested = sorted(name for name, end in tried.items() if end in _UNTESTED)
    for name in survived:
        print(f"survived: {name}")
    for name in untested:
        print(f"no test:  {name}")
    killed = len(tried) - len(survived) - len(untested)
    share = killed / len(tried) if tried else 0.0
    print(f"{killed} of {len(tried)} mutants killed: {share:.1%} (of {len(results)} there are)")
    return 0 if share >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
