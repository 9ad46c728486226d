"""Projects made on the spot: a program, what it manages, a backend of its own."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from bex_stack.engine import engine, events
from tests.support.waiting import wait_until

STORE = Path(__file__).parents[1] / "data" / "file_store" / "store.py"
HEAD = """\
import os
import pulumi
from pulumi import ResourceOptions
from store import File

folder = {folder!r}
"""
RUN = """\
import sys, pathlib
from bex_stack.engine import engine
directory, backend, method = sys.argv[1:]
found = engine.Engine(pathlib.Path(directory), "dev", backend_dir=pathlib.Path(backend),
                      on_event=lambda event: print(event, flush=True))
result = getattr(found, method)()
sys.exit(3 if result.interrupted else bool(result.failed))
"""


class Project:
    """A Pulumi project whose dynamic resources are files in `folder`."""

    def __init__(self, root: Path, head: str = "") -> None:
        self.head = head
        self.directory = root / "program"
        self.backend = root / "backend"
        self.folder = root / "files"
        self.events: list[events.Event] = []
        self.directory.mkdir()
        self.folder.mkdir()
        (self.directory / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
        shutil.copy(STORE, self.directory / "store.py")

    def write(self, program: str) -> "Project":
        """Set the program's text, after imports and `folder`."""
        text = HEAD.format(folder=str(self.folder)) + self.head + textwrap.dedent(program)
        (self.directory / "__main__.py").write_text(text)
        return self

    def engine(self, **options: Any) -> engine.Engine:
        """Make an engine for stack dev."""
        return engine.Engine(
            self.directory,
            "dev",
            backend_dir=self.backend,
            on_event=self.events.append,
            **options,
        )

    def up(self, program: str | None = None, **options: Any) -> events.Result:
        """Run up, perhaps with another program."""
        if program is not None:
            self.write(program)
        self.events.clear()
        return self.engine(**options).up()

    def preview(self, program: str | None = None) -> events.Result:
        """Run a preview, perhaps with another program."""
        if program is not None:
            self.write(program)
        return self.engine().preview()

    def spawn(self, method: str) -> subprocess.Popen[str]:
        """Run the engine in a process of its own, as a person would."""
        command = [sys.executable, "-c", RUN, str(self.directory), str(self.backend), method]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
        )

    def spawn_until(self, file: str) -> subprocess.Popen[str]:
        """Run up in a process of its own until a file is there; a gate keeps it at that point."""
        process = self.spawn("up")

        def is_there() -> bool:
            return (self.folder / file).exists() or process.poll() is not None

        wait_until(is_there, f"up makes {file}")
        assert process.poll() is None, process.communicate()[0]
        return process

    def open_gate(self, name: str = "go") -> None:
        """Let every create that has this gate end."""
        (self.folder / name).touch()

    def kill_when(self, file: str) -> None:
        """Run up in its own process and kill it as soon as a file is there."""
        process = self.spawn_until(file)
        process.kill()
        process.communicate(timeout=60)

    def stop_when(self, file: str, number: int) -> tuple[int, str]:
        """Stop up as a person would as soon as a file is there; its exit code and output.

        The gate is opened once it has said that it was stopped.
        """
        process = self.spawn_until(file)
        process.send_signal(number)
        assert process.stdout is not None
        heard = ""
        with process:
            for line in process.stdout:
                heard += line
                if "in flight" in line:
                    self.open_gate()
        return process.returncode, heard

    @property
    def state_file(self) -> Path:
        """Path of the state."""
        return self.backend / ".pulumi" / "stacks" / "shop" / "dev.json"

    @property
    def state(self) -> Any:
        """The deployment as the file holds it."""
        return json.loads(self.state_file.read_text())["checkpoint"]["latest"]

    @property
    def names(self) -> list[str]:
        """Logical names in the state, in order, without stack and default providers."""
        found = [each["urn"].rsplit("::", 1)[-1] for each in self.state.get("resources", [])]
        return [each for each in found if each not in ("shop-dev", "default")]

    @property
    def files(self) -> dict[str, str]:
        """The managed files with their text."""
        return {path.name: path.read_text() for path in sorted(self.folder.glob("*.txt"))}

    @property
    def journal(self) -> list[str]:
        """What the provider was told, in order."""
        path = self.folder / "journal"
        return path.read_text().splitlines() if path.exists() else []

    def messages(self) -> str:
        """Everything said by diagnostics."""
        return "\n".join(
            each.message for each in self.events if isinstance(each, events.Diagnostic)
        )
