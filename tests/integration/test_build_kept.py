"""What a machine keeps of an App's builds, by BuildKit in pods on real machines."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bex_operator.api import names
from bex_operator.kube import build_logs, errors, kinds
from bex_operator.plan import build_outcomes
from tests.support.build_plant import BASE, BUILD_SECONDS, Plant, plant, probed
from tests.support.waiting import wait_until

__all__ = ["plant", "probed"]
pytestmark = pytest.mark.timeout(1800)  # several builds in a row, on a machine that may be busy
BUILDS = names.BUILD_NAMESPACE
DISK_MEBIBYTES = 300
MOUNT = "--mount=type=cache,target=/c"
KEPT = names.KEPT_BUILDS
CONTAINER: dict[str, Any] = {
    "name": "a",
    "image": "a",
    "volumeMounts": [{"name": "kept", "mountPath": "/kept"}],
}
WRITE, IS_EMPTY = '["/probe", "write", "/c/mine"]', '["/probe", "empty", "/c"]'


def build_settings(*_: object) -> dict[str, Any]:
    """What the operator is told besides."""
    return {"diskMebibytes": DISK_MEBIBYTES}


class Kept:
    """An App with a cache mount, and what the machine keeps of its builds."""

    def __init__(self, plant: Plant, name: str) -> None:
        self._plant, self._name = plant, name
        self._commits: list[str] = []

    def push(self, step: str) -> str:
        """Commit a Dockerfile with that step, which no earlier build has run."""
        made = f"ENV NUMBER={len(self._commits)}\nRUN {MOUNT} {step}\n"
        text = f"FROM localhost:5050/bex/probe:1 AS made\nUSER 0\n{made}"
        text += f"{BASE}COPY --from=made /probe /probe\n"
        self._commits.append(self._plant.server.commit(self._name, {"Dockerfile": text}))
        return self._commits[-1]

    def build(self, step: str) -> str:
        """Push, wait for the release; return the log."""
        commit = self.push(step)
        return self.built(commit)

    def built(self, commit: str) -> str:
        """Wait until what was built of a commit runs; return the log."""
        plant, name = self._plant, self._name

        def runs() -> bool:
            found = [each for each in self._builds(commit) if each.image]
            return bool(found) and plant.image(name) == found[-1].image

        wait_until(runs, f"{name} runs {commit}", BUILD_SECONDS)
        job = [each.job for each in self._builds(commit) if each.image][-1]
        log = plant.embedded.ask(lambda kube: kube.get(kinds.CONFIG_MAP, job, BUILDS))
        return build_logs.unpack(log)

    def _builds(self, commit: str) -> list[build_outcomes.Build]:
        found = [build_outcomes.read(each) for each in self._plant.jobs(self._name)]
        return sorted((b for b in found if b.commit == commit), key=lambda each: each.created)

    @property
    def folder(self) -> Path:
        """What the machine keeps."""
        uid = self._plant.app(self._name)["metadata"]["uid"]
        machines = self._plant.embedded.instance.dir / "machines"
        (found,) = machines.glob(f"*/kubelet/{Path(names.KEPT_BUILDS).name}/{uid}/state")
        return found


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be another build of the App that has yet to end."""
    with (folder / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_next_build_finds_what_the_last_left(probed: Plant) -> None:
    """Of the same App, unless a person wants it gone, or the last build was killed."""
    name = "keeps"
    app = Kept(probed, name)
    first = app.push(WRITE)
    probed.deploy(name)
    app.built(first)
    second = app.push(IS_EMPTY)
    told = probed.wait_for(name, "BuildFailedUserError")
    probed.request(name, at="2100-01-01T00:00:00Z", clearCache=True)
    app.built(second)
    app.build(WRITE)
    # As a build leaves it that was killed.
    (app.folder / "rest").rename(app.folder / "running")
    app.build(IS_EMPTY)

    assert "/c holds" in told
    assert not (app.folder / "running").exists()
    assert (app.folder / "rest").is_dir()


def test_build_goes_on_without_what_it_cannot_use(probed: Plant) -> None:
    """The log says so: what is kept is broken, or another build has it."""
    name = "spoiled"
    app = Kept(probed, name)
    first = app.push(WRITE)
    probed.deploy(name)
    app.built(first)
    for each in (app.folder / "rest").rglob("*.db"):
        each.write_bytes(b"no database" * 1000)
    broken = app.build(IS_EMPTY)
    app.build(WRITE)
    with held(app.folder):
        apart = app.build(IS_EMPTY)

    assert "begins anew, with nothing of earlier builds" in broken
    assert "another build of this App has yet to end on this machine" in apart


def test_build_that_takes_too_much_of_the_disk_is_ended(probed: Plant) -> None:
    """The message says how much it may take; the disk has it back."""
    name = "fills"
    app = Kept(probed, name)
    app.push('["/probe", "fill", "/big"]')
    probed.deploy(name)
    told = probed.wait_for(name, "BuildFailedUserError")
    left = sum(each.stat().st_size for each in app.folder.rglob("big"))

    assert f"the build needs more than {DISK_MEBIBYTES} MiB of disk" in told
    assert left == 0


def host_folder(path: str) -> dict[str, Any]:
    """Render a volume."""
    return {"name": "kept", "hostPath": {"path": path}}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"hostUsers": True}, "users of its own"),
        ({"volumes": [host_folder("/etc")]}, "sees no folder of its machine"),
        ({"volumes": [host_folder(f"{KEPT}/uid-2/state")]}, "sees no folder of its machine"),
        ({"volumes": [host_folder(KEPT)]}, "only the step that makes room"),
        ({"automountServiceAccountToken": True}, "no token of the cluster"),
        ({"containers": [{**CONTAINER, "securityContext": {"privileged": True}}]}, "is privileged"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_pods_of_builds_are_confined_whoever_makes_them(
    plant: Plant, changed: dict[str, Any], words: str
) -> None:
    """The API server refuses pods there that share more with their machine than they have to."""
    spec = {
        "automountServiceAccountToken": False,
        "hostUsers": False,
        "containers": [CONTAINER],
        "volumes": [host_folder(f"{KEPT}/uid-1/state")],
        # Nowhere: it is only asked whether it may be.
        "schedulerName": "nobody",
    }

    # A policy that is new takes a moment to count.
    wait_until(lambda: words in refusal(plant, spec | changed), f"it is refused: {words}")
    assert refusal(plant, spec) == ""


def refusal(plant: Plant, spec: dict[str, Any]) -> str:
    """Say why the API server refuses a pod of an App's build; nothing if it does not."""
    labels = {names.APP_UID_LABEL: "uid-1"}
    metadata = {"name": "loose", "namespace": BUILDS, "labels": labels}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    try:
        plant.embedded.apply(pod)
    except errors.Invalid as refused:
        return str(refused)
    plant.embedded.ask(lambda kube: kube.delete(kinds.POD, "loose", BUILDS))
    return ""
