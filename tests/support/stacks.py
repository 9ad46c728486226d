"""A whole stack for tests: a project folder of its own, run by the real `bex` command."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import evidence, leftovers, places

if TYPE_CHECKING:
    from bex_stack.embedded import instance as instances

ROOT = Path(__file__).parents[2]
BEX = Path(sys.executable).with_name("bex")
UP_SECONDS = 600


@dataclass(frozen=True)
class Stack:
    """A copy of the program with an instance, ports, networks and state of its own."""

    project: Path
    home: Path
    http_port: int
    instance: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def bex(
        self, *arguments: str, check: bool = True, timeout: float = UP_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a `bex` command on this stack; its output comes with any failure."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.env(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            logs = evidence.text(self.home / "instances" / self.instance / "log")
            raise AssertionError(
                f"bex {' '.join(arguments)} exited with {done.returncode}\n"
                f"{done.stdout}\n{done.stderr}\n{logs}"
            )
        return done

    def command(self, *arguments: str) -> list[str]:
        """The command line of a `bex` command on this stack."""
        return [str(BEX), *arguments, "--stack", "test", "--cwd", str(self.project)]

    def env(self) -> dict[str, str]:
        """The environment of this stack's commands."""
        return {**os.environ, "BEX_HOME": str(self.home), **self.environment}

    @property
    def substrate(self) -> "instances.Instance":
        """What the stack is on this host."""
        from bex_stack import settings, stack_files

        file = self.project / "Pulumi.test.yaml"
        given = settings.parse(stack_files.read_config(file), source=file.name)
        return given.as_instance(self.home)

    def up(self) -> str:
        """Bring the stack up; returns what was printed."""
        return self.bex("up", "--yes").stdout

    def changes(self) -> dict[str, int]:
        """What an `up` would change now, by operation."""
        summary = json.loads(self.bex("preview", "--json").stdout)["changeSummary"]
        return {operation: count for operation, count in summary.items() if operation != "same"}

    def apps(self) -> list[dict[str, Any]]:
        """The rows of `bex apps`."""
        rows: list[dict[str, Any]] = json.loads(self.bex("apps", "--json").stdout)
        return rows

    def set_config(self, key: str, value: object) -> None:
        """Change one setting of the stack file."""
        from bex_stack import stack_files

        stack_files.set_config(self.project / "Pulumi.test.yaml", key, value)

    def write_app(self, module: str, /, **fields: object) -> Path:
        """Write an app module that runs the example image, named like the module unless told."""
        given = {
            "name": module,
            "image": "localhost:5050/bex/hello-go:1",
            "port": 8080,
            "host": f"{module}.localhost",
            "health_check_path": "/healthz",
            **fields,
        }
        arguments = ", ".join(f"{key}={value!r}" for key, value in given.items())
        file = self.project / "apps" / f"{module}.py"
        file.write_text(f"from bex_operator.api import App\n\napp = App({arguments})\n")
        return file


def make(folder: Path, *, number: int, workers: int = 1) -> Stack:
    """Lay out a project in *folder*; *number* (0-9) keeps its names, networks and ports apart."""
    project = folder / "project"
    (project / "apps").mkdir(parents=True)
    for name in ("__main__.py", "Pulumi.yaml"):
        shutil.copy(ROOT / name, project / name)
    ports = {"edgeHttpPort": 50, "edgeHttpsPort": 60, "registryPort": 70}
    config: dict[str, object] = {
        "provider": "embedded",
        "instance": places.name(f"stack{number}"),
        "workers": workers,
        "network": places.network(100 + number),
        "podNetwork": places.pod_network(200 + number),
        **{key: places.port(first + number) for key, first in ports.items()},
    }
    lines = "".join(f"  bex:{key}: {json.dumps(value)}\n" for key, value in config.items())
    (project / "Pulumi.test.yaml").write_text(f"config:\n{lines}")
    made = Stack(project, folder / "home", places.port(50 + number), places.name(f"stack{number}"))
    _prepare(made, config)
    return made


def _prepare(stack: Stack, config: Mapping[str, object]) -> None:
    """Find the instance's name unused, and show its logs when a test fails."""
    from bex_stack.embedded import instance as instances

    networks = {"network": config["network"], "pod_network": config["podNetwork"]}
    instance = instances.from_inputs({"home": stack.home, "name": stack.instance, **networks})
    leftovers.clear(instance)
    evidence.keep(instance.log_dir)
