"""A Docker Engine of the test's own: another folder, socket and network than a user's.

It writes no firewall rule: Docker's own would drop what other clusters on this host forward.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bex_stack.embedded import mounts
from tests.support import waiting

HOME = Path("/var/tmp")  # noqa: S108 - a disk, unlike /tmp on some hosts; the folder is random
PREFIX = "bex-docker-"
PACKAGES = ("docker.io", "mmdebstrap")
INSTALL_SECONDS = 600
COMMAND_SECONDS = 300
STOP_SECONDS = 120
RUNTIME = Path(__file__).with_name("without_resource_limits.py")
_SYS_RESOURCE = 1 << 24
_SYSTEM_PID_FILE = Path("/var/run/docker.pid")


@dataclass(frozen=True, slots=True)
class Engine:
    """A Docker Engine that runs."""

    folder: Path

    @property
    def host(self) -> str:
        """Where programs find it: DOCKER_HOST."""
        return f"unix://{self.folder}/docker.sock"

    def docker(self, *arguments: str, timeout: float = COMMAND_SECONDS) -> str:
        """Run a command of Docker's and return what it printed."""
        return _run(["docker", *arguments], {"DOCKER_HOST": self.host}, timeout)

    def load(self, archive: Path, name: str, *, entrypoint: str) -> None:
        """Make an image of a tree of files."""
        # systemd goes by the variable.
        settings = (f'ENTRYPOINT ["{entrypoint}"]', "ENV container=docker")
        options = [word for each in settings for word in ("--change", each)]
        self.docker("import", *options, str(archive), name)

    def everything(self) -> dict[str, list[str]]:
        """Name containers, volumes, and the networks that Docker does not make by itself."""
        listed = {
            "containers": ("ps", "--all", "--format", "{{.Names}}"),
            "volumes": ("volume", "ls", "--quiet"),
            "networks": ("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"),
        }
        return {what: self.docker(*command).split() for what, command in listed.items()}


def install() -> list[str]:
    """Install what is missing from Debian's packages; return what was installed.

    A service that the package starts is stopped again.
    """
    programs = dict(zip(PACKAGES, ("dockerd", "mmdebstrap"), strict=True))
    missing = [package for package, program in programs.items() if shutil.which(program) is None]
    if missing:
        was_running = _SYSTEM_PID_FILE.exists()
        command = ["apt-get", "install", "--yes", "--no-install-recommends", "--quiet"]
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "update", "--quiet"], quiet, INSTALL_SECONDS)
        _run([*command, *missing], quiet, INSTALL_SECONDS)
        if not was_running and _SYSTEM_PID_FILE.exists():
            _run(["service", "docker", "stop"], {}, STOP_SECONDS)
    return missing


@contextlib.contextmanager
def running() -> Iterator[Engine]:
    """Run a Docker Engine as long as the block lasts; what it held is gone with it."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=HOME))
    engine, fresh = Engine(folder), [path for path in _ELSEWHERE if not path.exists()]
    with contextlib.ExitStack() as stack:
        stack.callback(_forget, folder, fresh)
        log = stack.enter_context((folder / "dockerd.log").open("wb"))
        process = subprocess.Popen(_command(engine), stdout=log, stderr=log)
        stack.callback(_stop, process)
        waiting.wait_until(lambda: _answers(engine, process), "the Docker Engine answers", 120)
        stack.callback(_empty, engine)
        yield engine


_ELSEWHERE = (Path("/etc/docker/key.json"), Path("/etc/docker"), Path("/var/run/docker"))
"""What an engine makes wherever it is told to keep its data; Debian's package brings the second."""


def _command(engine: Engine) -> list[str]:
    folder = engine.folder
    command = ["setpriv", "--pdeathsig", "TERM", "dockerd", f"--host={engine.host}"]
    command += [f"--data-root={folder}/data", f"--exec-root={folder}/exec"]
    command += [f"--pidfile={folder}/docker.pid", "--bridge=none", "--ip-forward=false"]
    command += ["--iptables=false", "--ip6tables=false", "--storage-driver=overlay2"]
    if not _may_raise_limits():
        command += [f"--add-runtime=mended={RUNTIME}", "--default-runtime=mended"]
    return command


def _may_raise_limits() -> bool:
    status = Path("/proc/self/status").read_text()
    bounding = next(line for line in status.splitlines() if line.startswith("CapBnd"))
    return bool(int(bounding.split()[1], 16) & _SYS_RESOURCE)


def _answers(engine: Engine, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        log = (engine.folder / "dockerd.log").read_text()
        raise RuntimeError(f"dockerd ended:\n{log[-3000:]}")
    with contextlib.suppress(RuntimeError):
        return bool(engine.docker("version", "--format", "{{.Server.Version}}"))
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(STOP_SECONDS)


def _empty(engine: Engine) -> None:
    """Remove what a failure left: an engine that ends leaves the links of its networks."""
    left = engine.everything()
    for command, names in (
        (("rm", "--force", "--volumes"), left["containers"]),
        (("network", "rm"), left["networks"]),
    ):
        if names:
            engine.docker(*command, *names)


def _forget(folder: Path, fresh: Sequence[Path]) -> None:
    mounts.unmount_below(folder)
    for path in (folder, *fresh):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _run(command: list[str], env: Mapping[str, str], timeout: float) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **env},
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)[:200]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
