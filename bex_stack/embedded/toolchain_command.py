"""`python -m bex_stack.embedded.toolchain`: build, list and prune the toolchain by hand."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bex_stack.embedded import binaries, golang, toolchain

GROUPS = {
    "control-plane": binaries.CONTROL_PLANE,
    "registry": binaries.REGISTRY,
    "machine": binaries.MACHINE,
    "edge": binaries.EDGE,
    "extras": binaries.EXTRAS,
    "builds": binaries.BUILDS,
    "simulated": binaries.SIMULATED,
    "first-app": binaries.FIRST_APP,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bex_stack.embedded.toolchain")
    parser.add_argument("command", choices=("build", "list", "path", "prune"))
    parser.add_argument(
        "names",
        nargs="*",
        help=f"programs or groups ({', '.join(GROUPS)}); all but those built on demand if none",
    )
    given = parser.parse_args(arguments)
    try:
        names = [name for word in given.names for name in GROUPS.get(word, (word,))]
        chosen = names or [name for name in binaries.BINARIES if name not in binaries.ON_DEMAND]
        if given.command == "list":
            _write(_table(names or list(binaries.BINARIES)))
        elif given.command == "prune":
            _write(_prune(golang.default_cache()))
        else:
            tools = toolchain.ensure(chosen)
            if given.command == "path":
                _write([str(tools.path(binary)) for binary in tools.paths])
    except (toolchain.ToolchainError, binaries.UnknownBinary) as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the next build goes on from here\n")
        return 130
    return 0


def _write(lines: Sequence[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _table(names: Sequence[str]) -> list[str]:
    width = max(map(len, binaries.BINARIES))
    lines = []
    for name, path in toolchain.locate(names).items():
        state = (
            f"{path.stat().st_size / 1e6:6.1f} MB"
            if path.exists()
            else f"to build, about {binaries.get(name).seconds} s"
        )
        lines.append(f"{name:<{width}}  {path.parent.parent.name:<24}  {state}")
    return lines


def _prune(cache: Path) -> list[str]:
    """Remove the families' folders that this checkout does not name."""
    kept = {path.parent.parent for path in toolchain.locate(binaries.BINARIES).values()}
    removed = [
        folder
        for folder in sorted((cache / "toolchain").glob("*-*"))
        if folder.is_dir() and folder not in kept
    ]
    for folder in removed:
        shutil.rmtree(folder)
    return [f"removed {folder}" for folder in removed]
