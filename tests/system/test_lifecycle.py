"""Runs interrupted, hosts restarted, and everything gone at the end."""

import json
import os
import random
import signal
import subprocess
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
