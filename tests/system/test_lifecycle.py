"""Machines added and removed under load; runs interrupted; everything gone at the end."""

import concurrent.futures
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bex_operator.kube import kinds
from tests.support import hosts, requests, stacks


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short path: unix sockets lie below it."""
    return tmp_path_factory.mktemp("s")


@pytest.fixture
def made(folder: Path) -> Iterator[stacks.Stack]:
    """A project of its own, destroyed whatever happens."""
    own = stacks.make(folder, number=2)
    own.write_app("hello", replicas=2)
    try:
        yield own
    finally:
        own.bex("destroy", "--yes")


def nodes(stack: stacks.Stack) -> set[str]:
    """Names of the nodes that are Ready."""
    return {
        node["metadata"]["name"]
        for node in requests.objects(stack, kinds.NODE)
        if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])
    }


class Load:
    """A steady stream of requests to `hello`; counts what was not answered with 200."""

    def __init__(self, stack: stacks.Stack, per_second: int = 50) -> None:
        self._stack = stack
        self._pause = 1 / per_second
        self._stop = threading.Event()
        self.sent = 0
        self.failed: list[str] = []

    def __enter__(self) -> "Load":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            while not self._stop.wait(self._pause):
                self.sent += 1
                pool.submit(self._ask)

    def _ask(self) -> None:
        try:
            status = requests.get(self._stack, "hello.localhost").status
        except OSError as failed:
            self.failed.append(repr(failed))
        else:
            if status != 200:
                self.failed.append(str(status))


def test_machines_come_and_go_without_a_failed_request(stack: stacks.Stack) -> None:
    """Scaled up a machine joins and takes pods; scaled down it is drained, and no request fails."""
    stack.bex("machines", "scale", "2", "--yes")
    joined = nodes(stack)
    stack.write_app("hello", replicas=6)
    # The scheduler packs: it would leave the new machine empty, and its drain without work.
    requests.cordon(stack, "worker-1", closed=True)
    stack.up()
    requests.cordon(stack, "worker-1", closed=False)
    taken = [pod["spec"]["nodeName"] for pod in requests.pods(stack)]

    with Load(stack) as load:
        time.sleep(1)
        stack.bex("machines", "scale", "1", "--yes")
        time.sleep(1)

    assert joined == {"control-plane", "worker-1", "worker-2"}
    assert sorted(taken) == ["worker-1"] * 2 + ["worker-2"] * 4
    assert nodes(stack) == {"control-plane", "worker-1"}
    assert stack.apps()[0]["ready"] == "6/6"
    assert load.sent > 50
    assert load.failed == []
    stack.write_app("hello", replicas=2)
    stack.up()


def test_destroy_leaves_nothing(folder: Path) -> None:
    """After up and destroy no process, namespace, link, mount, cgroup, rule or file is left."""
    made = stacks.make(folder, number=3)
    made.write_app("hello", replicas=1)
    before = hosts.observe(made.instance, made.home)

    made.up()
    during = hosts.observe(made.instance, made.home)
    (made.project / "apps" / "broken.py").write_text("oops(")  # must not keep it from going
    gone = json.loads(made.bex("destroy", "--yes", "--json").stdout)["changeSummary"]

    assert set(gone) == {"delete"}
    assert during.processes
    assert during.namespaces
    assert hosts.observe(made.instance, made.home).added_since(before) == {}


def test_interrupted_up_is_finished_by_the_next(made: stacks.Stack) -> None:
    """kill -9 of up at random moments, again and again; the next up converges, nothing twice."""
    chance = random.Random(20260101)  # noqa: S311 - moments of a test
    for _ in range(5):
        with subprocess.Popen(
            made.command("up", "--yes"),
            env=made.env(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as running:
            try:
                running.wait(chance.uniform(1.0, 12.0))
            except subprocess.TimeoutExpired:
                os.kill(running.pid, signal.SIGKILL)

    made.up()

    assert made.changes() == {}
    assert requests.get(made, "hello.localhost").status == 200
    assert nodes(made) == {"control-plane", "worker-1"}
    assert requests.names(made, "deployments") == {"hello"}


def test_everything_comes_back_after_a_reboot(made: stacks.Stack) -> None:
    """Every process, namespace and link gone at once, as after a reboot: up restores the stack."""
    made.up()
    known = {item["metadata"]["uid"] for item in requests.objects(made, kinds.APP)}
    for entry in hosts.observe(made.instance).processes:
        try:
            os.kill(int(entry.split()[0]), signal.SIGKILL)
        except ProcessLookupError:
            continue

    made.up()

    assert requests.get(made, "hello.localhost").status == 200
    assert {item["metadata"]["uid"] for item in requests.objects(made, kinds.APP)} == known
