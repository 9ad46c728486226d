"""Real builds of something tiny: the toolchain's own `pause`."""

import dataclasses
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bex_stack.embedded import binaries, build_progress, building, golang, toolchain
from tests.support import go_caches
from tests.support.waiting import wait_until

COMMAND = (sys.executable, "-m", "bex_stack.embedded.toolchain", "build", "pause")
TIMEOUT_SECONDS = 180


class Recorder:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def started(self, name: str, typical_seconds: float) -> None:
        """Remember the start."""
        self.told.append(f"started {name}")

    def finished(self, name: str, seconds: float) -> None:
        """Remember the end."""
        self.told.append(f"finished {name}")

    def failed(self, name: str) -> None:
        """Remember the failure."""
        self.told.append(f"failed {name}")

    def note(self, line: str) -> None:
        """Remember the line."""
        self.told.append(line)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment with an empty toolchain cache."""
    for key, value in go_caches.locate().items():
        monkeypatch.setenv(key, value)
    return os.environ | {"BEX_CACHE": str(tmp_path)}


@pytest.fixture
def started(environment: dict[str, str]) -> Iterator[list["subprocess.Popen[str]"]]:
    """Two commands that build the same thing at the same time."""
    processes = [
        subprocess.Popen(COMMAND, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.usefixtures("environment")
def test_ensure_builds_once(tmp_path: Path) -> None:
    """The first call builds, the second finds; the program runs."""
    first, second = Recorder(), Recorder()
    path = toolchain.ensure(["pause"], progress=first, cache=tmp_path).path("pause")
    toolchain.ensure(["pause"], progress=second, cache=tmp_path)
    done = subprocess.run([path, "--", "sh", "-c", "exit 7"], check=False, timeout=TIMEOUT_SECONDS)

    assert (first.told, second.told) == (["started pause", "finished pause"], [])
    assert done.returncode == 7


def test_two_builders_build_once(started: list["subprocess.Popen[str]"]) -> None:
    """Of two commands at once one builds, the other waits and finds the result."""
    said = [process.communicate(timeout=TIMEOUT_SECONDS)[1] for process in started]

    assert [process.returncode for process in started] == [0, 0]
    assert "".join(said).count("built pause in") == 1


def test_waiting_builder_says_for_whom(tmp_path: Path, environment: dict[str, str]) -> None:
    """While another process holds the lock, the command names that process and waits."""
    lock = tmp_path / "toolchain" / ".lock"
    lock.parent.mkdir()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write("4711")
        held.flush()
        with subprocess.Popen(COMMAND, env=environment, stderr=subprocess.PIPE, text=True) as one:
            line = one.stderr.readline() if one.stderr else ""
            fcntl.flock(held, fcntl.LOCK_UN)
            one.communicate(timeout=TIMEOUT_SECONDS)

    assert line == f"waiting for another build in {lock.parent} (process 4711)\n"
    assert one.returncode == 0


@pytest.mark.usefixtures("environment")
def test_failed_build_says_why_and_how_to_repeat_it(tmp_path: Path) -> None:
    """The compiler's last lines and a command for the shell that fails in the same way."""
    broken = dataclasses.replace(binaries.get("pause"), package="./missing")
    with pytest.raises(toolchain.ToolchainError) as raised:
        building.build(
            broken,
            tmp_path / "bin" / "pause",
            find_go=lambda: golang.find_or_install(tmp_path),
            lock=tmp_path / ".lock",
            progress=Recorder(),
        )
    message = str(raised.value)
    command = message.rpartition("Repeat it with:\n")[2]
    again = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
    )

    assert "missing: directory not found" in message
    assert "missing: directory not found" in again.stderr
    assert list((tmp_path / "bin").iterdir()) == []


def test_killed_build_is_finished_by_the_next(tmp_path: Path, environment: dict[str, str]) -> None:
    """After kill -9 no compiler goes on, nothing half done is taken for a program or stays."""
    (elsewhere := tmp_path / "tmp").mkdir()
    environment |= {"TMPDIR": str(elsewhere)}
    empty = environment | {"GOCACHE": str(tmp_path / "compiled")}
    path = toolchain.locate(["pause"], cache=tmp_path)["pause"]
    with subprocess.Popen(COMMAND, env=empty, stderr=subprocess.PIPE, text=True) as killed:
        line = killed.stderr.readline() if killed.stderr else ""
        wait_until(lambda: any(path.parent.glob(f".{path.name}.work/*")), "the compiler runs")
        killed.send_signal(signal.SIGKILL)

    wait_until(lambda: not _builds(path.parent), "the compiler has ended")
    assert line.startswith("building pause")
    assert not path.exists()
    subprocess.run(COMMAND, env=environment, check=True, timeout=TIMEOUT_SECONDS)
    assert list(path.parent.iterdir()) == [path]
    assert list(elsewhere.iterdir()) == []


@pytest.mark.usefixtures("environment")
def test_background_build_is_waited_for(tmp_path: Path) -> None:
    """A build started in the background hands over its programs, or its error."""
    recorder: build_progress.Progress = Recorder()
    build = toolchain.start_background(["pause"], progress=recorder, cache=tmp_path)
    tools = build.wait(TIMEOUT_SECONDS)

    assert tools.path("pause").exists()


def _builds(folder: Path) -> bool:
    return any(_runs_go_build(process, folder) for process in Path("/proc").glob("[0-9]*"))


def _runs_go_build(process: Path, folder: Path) -> bool:
    try:
        return str(folder).encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False
