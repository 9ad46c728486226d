"""What befalls builds on real machines: killed steps, and things that move while they are built."""

import os
import signal
import threading
import time
from concurrent import futures
from pathlib import Path

import pytest

from bex_operator import api
from bex_operator.kube import kinds
from bex_operator.plan import build_outcomes
from bex_stack.embedded import images, oci_layout, registry, toolchain
from tests.support.build_plant import BASE, BUILD_SECONDS, Plant, plant
from tests.support.waiting import wait_until

__all__ = ["plant"]
pytestmark = pytest.mark.timeout(1800)  # several builds in a row, on a machine that may be busy
RESOLVES = 10
"""How many commits are built at most until a kill strikes."""
LOOK_SECONDS = 0.02
"""How often processes are looked at: a push takes tenths of a second, and a look takes from it."""
ON_MOVING_BASE = """FROM localhost:5050/bex/hello-go:1 AS app
FROM localhost:5050/bex/moving:1
COPY --from=app /hello-go /hello-go
ENTRYPOINT ["/hello-go"]
"""


def kill(step: str, word: str, missed: threading.Event | None = None) -> bool:
    """Wait for the process of a step that has *word* among its arguments, and kill it.

    Once it is known to be *missed*, the answer is false.
    """
    deadline, before = time.monotonic() + BUILD_SECONDS, set(Path("/proc").iterdir())
    while time.monotonic() < deadline:
        if missed is not None and missed.is_set():
            return False
        there = set(Path("/proc").iterdir())
        before &= there
        for folder in there - before:
            try:
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
                if arguments[1:2] == [step.encode()] and word.encode() in b" ".join(arguments):
                    os.kill(int(folder.name), signal.SIGKILL)
                    return True
            except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
                continue
        time.sleep(LOOK_SECONDS)
    raise AssertionError(f"no process runs the step {step} with {word}")


def builds(plant: Plant, name: str) -> list[build_outcomes.Build]:
    """What became of an App's builds, oldest first."""
    found = sorted(plant.jobs(name), key=lambda job: build_outcomes.read_started(job).created)
    return [build_outcomes.read(each) for each in found]


def runs(plant: Plant, name: str, commit: str) -> bool:
    """Whether an App runs what was built of a commit."""
    made = [each.image for each in builds(plant, name) if each.commit == commit]
    return bool(made and made[0]) and plant.image(name) == made[0]


def test_killed_step_is_run_again(plant: Plant) -> None:
    """In another pod of the same Job; one image comes of it, and nobody blames the repository."""
    early, late = "killed-early", "killed-late"
    held = plant.server.held[early] = threading.Event()
    # Enough to push that a push is seen on a fast machine, too.
    large = {"Dockerfile": f"{BASE}COPY large /large\n", "large": os.urandom(8 << 20).hex()}
    commits = {early: plant.server.commit(early, {"Dockerfile": BASE})}
    commits[late] = plant.server.commit(late, large)

    def kill_early() -> None:
        kill("clone", plant.server.url_of(early))
        held.set()
        kill("build", f":{early}")

    with futures.ThreadPoolExecutor() as pool:
        killing = [pool.submit(kill_early), pool.submit(kill, "push", f":{late}")]
        for name in (early, late):
            plant.deploy(name)
        for each in killing:
            each.result()
    for name in (early, late):
        wait_until(
            lambda name=name: runs(plant, name, commits[name]), f"{name} runs", BUILD_SECONDS
        )
    failed = {name: [job["status"].get("failed") for job in plant.jobs(name)] for name in commits}

    assert failed == {early: [2], late: [1]}
    assert {each.state for name in commits for each in builds(plant, name)} == {"Succeeded"}
    assert not any(each.fault for name in commits for each in builds(plant, name))


def test_killed_resolve_is_run_again(plant: Plant) -> None:
    """It takes hundredths of a second: commits are built until one of them was struck."""
    name = "killed-resolve"
    file = f"Dockerfile.{name}"
    # Enough to tell that the step is seen.
    text = BASE + "# nothing\n" * 40_000
    for number in range(RESOLVES):
        commit = plant.server.commit(name, {file: text, "number": str(number)})
        missed = threading.Event()
        with futures.ThreadPoolExecutor() as pool:
            killing = pool.submit(kill, "resolve", file, missed)
            plant.deploy(name, dockerfile_path=file)
            wait_until(
                lambda commit=commit: runs(plant, name, commit), f"{commit[:7]} runs", BUILD_SECONDS
            )
            missed.set()
        if killing.result():
            break
    failed = [job["status"].get("failed", 0) for job in plant.jobs(name)]

    assert sorted(failed) == [*(number * [0]), 1]
    assert {(each.state, each.fault) for each in builds(plant, name)} == {("Succeeded", "")}


def move_base(plant: Plant, content: bytes) -> None:
    """Push another image under the tag that Dockerfiles name."""
    folder = plant.server.folder / f"base-{content.decode()}"
    oci_layout.write(oci_layout.Image(files={"/marker": content}), folder)
    reference = f"{registry.endpoint(plant.embedded.instance)}/bex/moving:1"
    images.push(folder, reference, toolchain=toolchain.ensure(["crane"]))


def test_moved_branch_and_base_change_no_release(plant: Plant) -> None:
    """A release is what was built of the commit that its build was for, by digest."""
    name = "moved"
    move_base(plant, b"one")
    first = plant.server.commit(name, {"Dockerfile": ON_MOVING_BASE})
    held = plant.server.held[name] = threading.Event()
    plant.deploy(name)
    wait_until(lambda: plant.ready(name)[2].endswith(": clone"), "it is cloned", BUILD_SECONDS)
    second = plant.server.commit(name, {"Dockerfile": ON_MOVING_BASE, "b": "later"})
    wait_until(lambda: second[:7] in plant.ready(name)[2], "the move is known", BUILD_SECONDS)
    held.set()
    wait_until(lambda: runs(plant, name, second), "the second commit runs", BUILD_SECONDS)
    running = plant.image(name)
    move_base(plant, b"two")
    plant.deploy(name, args=("changed",))

    def is_released() -> bool:
        app = plant.app(name)
        return bool(app["status"].get("observedGeneration") == app["metadata"]["generation"])

    wait_until(is_released, "the change is taken in", BUILD_SECONDS)
    made = {each.commit: each.image for each in builds(plant, name)}
    kept = plant.embedded.ask(lambda kube: kube.list(kinds.CONTROLLER_REVISION, api.NAMESPACE))
    records = [
        str(each["data"]) for each in kept.items if each["metadata"]["name"].startswith(name)
    ]

    assert sorted(made) == sorted([first, second])
    assert plant.image(name) == running == made[second]
    named = [each for each in records if made[second].rpartition("@")[2] in each]
    assert named
    assert all(second in each for each in named)
    # What was built of the first commit was released in its turn, although the branch had moved.
    assert any(first in each for each in records)
