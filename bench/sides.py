"""The two ways to a cluster that are compared: the `bex` command, and the script by hand.

Each has a folder, an instance, ports and networks of its own, and leaves nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench import measuring
from bench.by_hand import layout

ROOT = Path(__file__).parents[1]
APP_HOST = "hello.localhost"


class Side(Protocol):
    """A way to a cluster."""

    name: str
    edge_port: int

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""

    def up(self, workers: int) -> subprocess.Popen[str]:
        """Start bringing a cluster with this many workers and the app up."""

    def add(self, workers: int) -> subprocess.Popen[str]:
        """Start adding one machine; *workers* counts it."""

    def down(self) -> None:
        """Take everything down."""


class Bex:
    """The `bex` command on a project of its own."""

    name = "bex"
    edge_port = 18941

    def __init__(self, folder: Path) -> None:
        self._project, self._home = folder / "p", folder / "h"

    def prepare(self) -> None:
        """Lay the project out: this repository's program and its example app."""
        (self._project / "apps").mkdir(parents=True)
        for name in ("__main__.py", "Pulumi.yaml", "apps/hello.py"):
            shutil.copy(ROOT / name, self._project / name)

    @property
    def kubeconfig(self) -> Path:
        """Where the embedded substrate keeps the administrator's."""
        return self._home / "instances" / "bench" / "kubeconfig"

    def up(self, workers: int) -> subprocess.Popen[str]:
        """Run `bex up` on a fresh stack file."""
        settings = {
            "provider": "embedded",
            "instance": "bench",
            "workers": workers,
            "network": "10.94.0.0/24",
            "podNetwork": "10.248.0.0/16",
            "edgeHttpPort": self.edge_port,
            "edgeHttpsPort": 18942,
            "registryPort": 18940,
        }
        lines = "".join(f"  bex:{key}: {json.dumps(value)}\n" for key, value in settings.items())
        (self._project / "Pulumi.bench.yaml").write_text(f"config:\n{lines}")
        return self.start("up", "--yes")

    def add(self, workers: int) -> subprocess.Popen[str]:
        """Run `bex machines scale`."""
        return self.start("machines", "scale", str(workers), "--yes")

    def down(self) -> None:
        """Run `bex destroy`."""
        measuring.finish(self.start("destroy", "--yes"), "bex destroy")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a `bex` command on this stack."""
        environment = {**os.environ, "BEX_HOME": str(self._home)}
        return measuring.start(self.command(*arguments), env=environment)

    def command(self, *arguments: str) -> Sequence[str]:
        """Command line of a `bex` command on this stack."""
        bex = str(Path(sys.executable).with_name("bex"))
        return [bex, *arguments, "--stack", "bench", "--cwd", str(self._project)]

    def environment(self) -> dict[str, str]:
        """Environment of this stack's commands."""
        return {**os.environ, "BEX_HOME": str(self._home)}


class Hand:
    """The script by hand."""

    name = "by hand"
    edge_port = layout.EDGE_PORT

    def __init__(self, folder: Path) -> None:
        self._site, self._file = folder / "s", folder / "s.json"

    def prepare(self) -> None:
        """Say where the script finds binaries and images; both sides find them built."""
        from bex_stack.embedded import images, toolchain

        names = {*toolchain.FIRST_APP, "coredns", "kubectl"}
        tools = toolchain.ensure(names)
        layouts = {
            f"pause:{images.PAUSE_TAG}": images.build_pause_image(toolchain=tools),
            "bex/hello-go:1": images.build_go_image(ROOT / "examples/hello-go", toolchain=tools),
        }
        site = {
            "dir": str(self._site),
            "programs": {name: str(path) for name, path in tools.paths.items()},
            "images": {name: str(path) for name, path in layouts.items()},
        }
        self._file.write_text(json.dumps(site))

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self._site / "pki" / "admin.kubeconfig"

    def up(self, workers: int) -> subprocess.Popen[str]:
        """Run the script."""
        self._site.mkdir()
        return self._start("up", str(workers))

    def add(self, workers: int) -> subprocess.Popen[str]:
        """Run the part of the script that adds a machine."""
        return self._start("add", str(workers))

    def down(self) -> None:
        """Run the part of the script that removes everything."""
        measuring.finish(self._start("down"), "by hand: down")

    def kubectl(self) -> str:
        """Path of kubectl."""
        return str(json.loads(self._file.read_text())["programs"]["kubectl"])

    def _start(self, action: str, *rest: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "bench.by_hand", action, str(self._file), *rest]
        return measuring.start(command, cwd=ROOT)
