"""`python -m bench.pushes`: from a git push to a release that serves, against doing it by hand.

A whole stack of its own serves the example's repository and is pushed to; by hand, on the same
host, with the same registry, base image, Dockerfile and cluster: git clone, BuildKit's daemon on an
empty folder or on the one of the last time, and one `buildctl build` that pushes, another image for
a Deployment of the same shape. Every push changes one file of the program. Cold: the App's layer
cache and what its machine keeps of its builds have just been removed; warm: they are there. The
machine has the image of the steps in both. A round has all of them in both orders, and a figure is
the sum. A virtual machine that gives free memory back to its host pays for every page it takes
again: a base image of 350 MB was unpacked in 3 s or in 11, whatever confined who did it. So a cold
one begins when what was just removed has been given back. Processor seconds are those of the
machine and, by hand, of git and BuildKit besides.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import clusters
from bex_operator.api import images
from bex_operator.kube import kinds
from bex_operator.plan import build_jobs, build_outcomes
from bex_stack.embedded import binaries, golang, identities, registry, repositories, toolchain
from bex_stack.embedded import instance as instances
from tests.support import requests, stacks

NAME = "hello-git"
HOST = f"{NAME}.localhost"
EXAMPLE = stacks.ROOT / "examples" / "hello-go"
WAIT_SECONDS = 900.0
SETTLE_SECONDS = {"cold": 20.0, "warm": 5.0}
"""Before each: the pods of the one before end, and what was set free goes back to the host."""
CGROUP = "bex-bench-pushes"
CACHE = "/root/.cache/go-build"
DOCKERFILE = f"""FROM golang AS go
WORKDIR {CACHE}
FROM go AS build
WORKDIR /src
COPY . .
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
RUN --mount=type=cache,from=go,source={CACHE},target={CACHE} ["go", "build", "-trimpath", \
"-buildvcs=false", "-gcflags=all=-dwarf=false", "-ldflags", "-s -w", "-o", "/app", "."]
FROM scratch
COPY --from=build /app /app
USER 65532:65532
ENTRYPOINT ["/app"]
"""
"""What the steps of builds make for the example."""


def run(*command: str, cwd: Path | None = None, **environment: str) -> str:
    """Run a program; return what it says to people."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stderr


def until(what: str, holds: Any) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"did not come about: {what}")
        time.sleep(0.02)


def make_buildctl(folder: Path) -> Path:
    """Compile BuildKit's own client, which the stack does not need."""
    go = golang.find_or_install(golang.default_cache())
    made = folder / "buildctl"
    run(
        *(str(go.program), "build", "-o", str(made), "github.com/moby/buildkit/cmd/buildctl"),
        cwd=binaries.TOOLS / "build",
        **go.settings(os.environ, cgo=False),
    )
    return made


class Bex:
    """A push to the stack."""

    def __init__(self, stack: stacks.Stack, work: Path) -> None:
        self._stack, self._work = stack, work
        bare = repositories.folder(stack.substrate) / f"{EXAMPLE.name}.git"
        run("git", "clone", "--quiet", str(bare), str(work))

    def commit(self, words: str) -> None:
        """Let the next version say other words."""
        text = (EXAMPLE / "main.go").read_text().replace("Hello from %s", f"{words} from %s")
        (self._work / "main.go").write_text(text)
        who = {f"GIT_{each}_NAME": "Ada" for each in ("AUTHOR", "COMMITTER")}
        who |= {f"GIT_{each}_EMAIL": "ada@example.com" for each in ("AUTHOR", "COMMITTER")}
        run("git", "commit", "--quiet", "--all", "--message", words, cwd=self._work, **who)

    def push(self, words: str) -> None:
        """Push it, and wait until it answers."""
        run("git", "push", "--quiet", "origin", "HEAD", cwd=self._work)
        until(f"{HOST} answers {words}", lambda: self._answer().startswith(f"{words} from "))

    def steps(self) -> dict[str, float]:
        """Return what the steps of the last push took."""
        rows: list[dict[str, Any]] = json.loads(self._stack.bex("deploys", NAME, "--json").stdout)
        told: dict[str, float] = rows[0]["seconds"]
        return told

    def forget(self, cluster: clusters.Api) -> None:
        """Remove the App's layer cache from the registry, and what the machines keep."""
        uid = cluster.get(kinds.APP, NAME, clusters.APPS_NAMESPACE)["metadata"]["uid"]
        for kept in (self._stack.substrate.dir / "machines").glob(f"*/kubelet/*/{uid}"):
            shutil.rmtree(kept)
        cache = f"{registry.endpoint(self._stack.substrate)}/{build_jobs.repository(uid)}"
        crane = str(toolchain.ensure(["crane"]).path("crane"))
        image = f"{cache}/{images.CACHE}"
        told = subprocess.run(
            [crane, "digest", f"{image}:latest"], capture_output=True, text=True, check=True
        )
        run(crane, "delete", f"{image}@{told.stdout.strip()}")

    def _answer(self) -> str:
        return requests.get(self._stack, HOST).body


class Hand:
    """The same without a platform."""

    def __init__(self, instance: instances.Instance, buildctl: Path, folder: Path) -> None:
        self._instance, self._buildctl, self._folder = instance, buildctl, folder
        self._image = f"{registry.endpoint(instance)}/by-hand"

    def forget(self, _: clusters.Api) -> None:
        """Remove what builds left."""
        shutil.rmtree(self._folder / "state", ignore_errors=True)

    @contextlib.contextmanager
    def daemon(self) -> Iterator[str]:
        """Run BuildKit's daemon on the folder of the last time; yields its address."""
        state = self._folder / "state"
        state.mkdir(exist_ok=True)
        endpoint = registry.endpoint(self._instance)
        (state / "daemon.toml").write_text(
            f'root = "{state}/root"\n[worker.oci]\nenabled = true\nnetworkMode = "host"\n'
            f'defaultCgroupParent = "{CGROUP}"\n'
            f'[worker.containerd]\nenabled = false\n[registry."{endpoint}"]\nhttp = true\n'
            f'[registry."docker.io"]\nmirrors = ["{endpoint}"]\n'
        )
        tools = toolchain.ensure(["buildkitd", "runc"])
        path = f"{tools.path('runc').parent}:{os.environ['PATH']}"
        address = f"unix://{state}/sock"
        # Its mounts go with its namespace.
        command = ["unshare", "--mount", str(tools.path("buildkitd")), "--config",
                   str(state / "daemon.toml"), "--addr", address,
                   "--otel-socket-path", str(state / "otel")]  # fmt: skip
        with (state / "log").open("wb") as log:
            running = subprocess.Popen(command, env={**os.environ, "PATH": path}, stderr=log)
        try:
            ask = [str(self._buildctl), "--addr", address, "debug", "workers"]
            until("BuildKit runs", lambda: not subprocess.run(ask, capture_output=True).returncode)  # noqa: PLW1510
            yield address
        finally:
            running.terminate()
            running.wait(60)
            # Innermost first; where the daemon was killed, something may still be in one.
            for left in sorted(Path("/sys/fs/cgroup").glob(f"**/{CGROUP}/**/"), reverse=True):
                with contextlib.suppress(OSError):
                    left.rmdir()

    def build(self, address: str, words: str) -> None:
        """Clone, build, push."""
        source = self._folder / f"source-{uuid.uuid4().hex[:8]}"
        authority = identities.cluster_authority(self._instance).certificate
        url = repositories.url(self._instance, EXAMPLE.name)
        run("git", "clone", "--quiet", "--depth=1", url, str(source), GIT_SSL_CAINFO=str(authority))
        (source / "Dockerfile").write_text(DOCKERFILE)
        folder = f"{self._folder}/{source.name}"
        run(
            *(str(self._buildctl), "--addr", address, "build", "--frontend", "dockerfile.v0"),
            *("--local", f"context={folder}", "--local", f"dockerfile={folder}"),
            *("--output", f"type=image,name={self._image}:{words.lower()},push=true"),
        )

    def roll_out(self, cluster: clusters.Api, words: str) -> None:
        """Give a Deployment of the App's shape that image, and wait until it serves."""
        made = cluster.get(kinds.DEPLOYMENT, NAME, clusters.APPS_NAMESPACE)
        template = made["spec"]["template"]
        labels = {"app": "by-hand"}
        template["metadata"] = {"labels": labels}
        image = f"{registry.KNOWN_AS}/by-hand:{words.lower()}"
        template["spec"]["containers"][0]["image"] = image
        wanted = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        cluster.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "by-hand", "namespace": clusters.APPS_NAMESPACE},
                "spec": wanted,
            }
        )
        until("the rollout is done", lambda: self._is_out(cluster))

    def _is_out(self, cluster: clusters.Api) -> bool:
        found = cluster.get(kinds.DEPLOYMENT, "by-hand", clusters.APPS_NAMESPACE)
        status = found.get("status", {})
        counts = [status.get(each) for each in ("replicas", "updatedReplicas", "availableReplicas")]
        return status.get("observedGeneration") == found["metadata"]["generation"] and counts == [
            1,
            1,
            1,
        ]


class Times:
    """Seconds by what was done, summed up in each round."""

    def __init__(self) -> None:
        self._rounds: list[dict[str, float]] = []

    def begin_round(self) -> None:
        """Add to a round of its own from now on."""
        self._rounds.append(defaultdict(float))
        print(f"round {len(self._rounds)}, load {os.getloadavg()[0]:.0f}", flush=True)

    def add(self, what: str, seconds: float) -> None:
        """Keep and print one."""
        self._rounds[-1][what] += seconds
        print(f"{what:<24} {seconds:7.1f} s", flush=True)

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Take the time of a block."""
        began = time.monotonic()
        yield
        self.add(what, time.monotonic() - began)

    def ratio(self, one: str, other: str) -> str:
        """Compare round by round."""
        found = sorted(each[one] / each[other] for each in self._rounds)
        return f"{statistics.median(found):.2f} ({found[0]:.2f}-{found[-1]:.2f})"


def steps_of(told: dict[str, float]) -> str:
    """Print a breakdown on one line."""
    return "  ".join(f"{step} {seconds:.1f}" for step, seconds in told.items())


def processor(instance: instances.Instance) -> float:
    """Return the processor's seconds so far: the stack's machines and this process's children."""
    folder = Path("/sys/fs/cgroup/cpuacct") / instance.name
    if folder.is_dir():
        machines = int((folder / "cpuacct.usage").read_text()) / 1e9
    else:
        told = (Path("/sys/fs/cgroup") / instance.name / "cpu.stat").read_text().split()
        machines = int(told[told.index("usage_usec") + 1]) / 1e6
    mine = resource.getrusage(resource.RUSAGE_CHILDREN)
    return machines + mine.ru_utime + mine.ru_stime


def measure(rounds: int, folder: Path) -> None:
    """Bring the stack up, do the rounds, print the ratios."""
    stack = stacks.make(folder, number=9)
    stack.set_config("bex:repositories", [str(EXAMPLE)])
    stack.set_config("bex:baseImages", ["golang"])
    instance, times = stack.substrate, Times()
    repo = repositories.url(instance, EXAMPLE.name)
    stack.write_app("hello_git", name=NAME, host=HOST, image=None, repo=repo)
    try:
        stack.up()
        hand = Hand(instance, make_buildctl(folder), folder)
        bex = Bex(stack, folder / "work")
        with clusters.Api(instance.kubeconfig) as cluster:
            for number in range(rounds):
                times.begin_round()
                # A warm one comes after a cold one of its side in either order.
                for turn, sides in enumerate(((bex, hand), (hand, bex))):
                    for how, side in itertools.product(("cold", "warm"), sides):
                        if how == "cold":
                            side.forget(cluster)
                        time.sleep(SETTLE_SECONDS[how])
                        words = f"{how}{number}{turn}"
                        if side is bex:
                            push(bex, words, how, instance, times)
                        else:
                            by_hand(hand, cluster, words, how, instance, times)
    finally:
        stack.bex("destroy", "--yes")
    for what, one, other in (
        ("a cold push against by hand (aim 1.5)", "cold: push", "cold by hand: all"),
        ("a warm push against by hand (aim 1.5)", "warm: push", "warm by hand: all"),
        ("a warm build against a cold one (aim 0.3)", "warm: build", "cold: build"),
        ("the same, the step that builds alone", "warm: step", "cold: step"),
        ("a warm push against a cold one", "warm: push", "cold: push"),
        ("the same by hand", "warm by hand: all", "cold by hand: all"),
        ("processor: a cold push against by hand", "cold: processor", "cold by hand: processor"),
        ("processor: a warm push against by hand", "warm: processor", "warm by hand: processor"),
        ("processor: warm against cold", "warm: processor", "cold: processor"),
    ):
        print(f"{what:<42} {times.ratio(one, other)}")


def push(bex: Bex, words: str, how: str, instance: instances.Instance, times: Times) -> None:
    """Push once."""
    bex.commit(words)
    before = processor(instance)
    with times.of(f"{how}: push"):
        bex.push(words)
    times.add(f"{how}: processor", processor(instance) - before)
    told = bex.steps()
    times.add(f"{how}: build", sum(told.get(each, 0.0) for each in build_outcomes.STEPS))
    times.add(f"{how}: step", told["build"])
    print(f"  {steps_of(told)}", flush=True)


def by_hand(
    hand: Hand,
    cluster: clusters.Api,
    words: str,
    how: str,
    instance: instances.Instance,
    times: Times,
) -> None:
    """Do the same without a platform."""
    before, began = processor(instance), time.monotonic()
    with hand.daemon() as address:
        with times.of(f"  {how} clone, build, push"):
            hand.build(address, words)
        with times.of(f"  {how} rollout"):
            hand.roll_out(cluster, words)
        times.add(f"{how} by hand: all", time.monotonic() - began)
    # A process is counted when it has ended.
    times.add(f"{how} by hand: processor", processor(instance) - before)


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.pushes", description="git to release")
    parser.add_argument("--rounds", type=int, default=3, help="how many (default: 3)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bex-bench-") as folder:
        measure(asked.rounds, Path(folder))


if __name__ == "__main__":
    main()
