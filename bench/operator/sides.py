"""The three operators that are compared: how each is built and started."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.operator import processes
from bex_stack.embedded import golang

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD_SECONDS = 1800


@dataclass(frozen=True)
class Side:
    """One operator."""

    name: str
    command: tuple[str, ...]
    """`{kubeconfig}` stands for the file."""
    mends: bool = True
    """It looks at what becomes of children, and makes anew what was deleted."""

    def start(self, kubeconfig: Path, folder: Path) -> processes.Process:
        """Start it against a server."""
        command = [each.replace("{kubeconfig}", str(kubeconfig)) for each in self.command]
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        return processes.Process(command, environment, folder / f"{self.name.split()[0]}.log")


def bex(cache: Path) -> Side:
    """Our own operator: this source, compiled, with what its image holds and nothing more."""
    return _bex(cache, "bex", "-m", "bex_operator")


def unlimited(cache: Path) -> Side:
    """Our own operator without the limits that it sets itself."""
    return _bex(cache, "unlimited", str(HERE / "unlimited.py"))


def _bex(cache: Path, name: str, *program: str) -> Side:
    python = _environment(cache, "bex", ROOT / "requirements" / "operator.lock")
    source = ROOT / "operator"
    compiling = [str(python), "-m", "compileall", "-q", str(source)]
    subprocess.run(compiling, check=True, timeout=120)
    entry = ("env", f"PYTHONPATH={source}", str(python), *program)
    return Side(name, (*entry, "operator", "--health-port", "0", "--kubeconfig", "{kubeconfig}"))


def go(cache: Path, *, apply: bool = False) -> Side:
    """The peer on controller-runtime: built once, kept by what its source is."""
    program = cache / f"peer-{_digest(HERE / 'peer')}"
    if not program.exists():
        print("building the Go peer (minutes, once)", flush=True)
        tool = golang.find_or_install(golang.default_cache())
        environment = tool.environment(os.environ, cgo=False)
        command = [str(tool.program), "build", "-o", str(program), "."]
        subprocess.run(
            command, cwd=HERE / "peer", env=environment, check=True, timeout=BUILD_SECONDS
        )
    command = (str(program), "--kubeconfig", "{kubeconfig}")
    return Side("go apply", (*command, "--apply")) if apply else Side("go", command)


def kopf(cache: Path) -> Side:
    """The peer on Kopf, in a virtual environment of its own."""
    python = _environment(cache, "kopf", HERE / "kopf.lock")
    entry = (str(python), "-m", "kopf", "run", "--all-namespaces", "--standalone", "--quiet")
    return Side("kopf", (*entry, str(HERE / "kopf_peer.py")), mends=False)


def _environment(cache: Path, name: str, lock: Path) -> Path:
    """Make a virtual environment of what is locked, once; return its interpreter."""
    folder = cache / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"installing what {name} needs (once)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
        install = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes"]
        subprocess.run([*install, "-r", str(lock)], check=True, timeout=BUILD_SECONDS)
        (folder / "ready").touch()
    return python


def _digest(folder: Path) -> str:
    content = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        content.update(file.read_bytes())
    return content.hexdigest()[:12]
