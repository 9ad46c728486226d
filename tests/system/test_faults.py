"""Every process and machine killed, one after another: the app answers again without a person."""

import json
import os
import signal

import pytest

from tests.support import requests, stacks
from tests.support.waiting import wait_until

PROCESSES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "coredns",
    "registry",
    "edge",
    "caddy",
    "worker-1-containerd",
    "worker-1-kubelet",
    "worker-1-kube-proxy",
    "worker-1",
)


def pids(stack: stacks.Stack) -> dict[str, int]:
    """The pid of each process that runs."""
    found = json.loads(stack.bex("status", "--json").stdout)["processes"]
    return {p["name"]: p["pid"] for p in found if p["state"] == "RUNNING"}


def answers(stack: stacks.Stack) -> bool:
    """Whether the app answers with 200 at the edge."""
    try:
        return requests.get(stack, "hello.localhost").status == 200
    except OSError:
        return False


@pytest.mark.parametrize("name", PROCESSES)
def test_killed_process_comes_back(stack: stacks.Stack, name: str) -> None:
    """kill -9 of one process: it runs again under a new pid and the app answers."""
    # Others may still be on their way back from the fault before.
    wait_until(lambda: set(PROCESSES) <= set(pids(stack)), "everything runs")
    before = pids(stack)[name]

    os.kill(before, signal.SIGKILL)

    wait_until(lambda: pids(stack).get(name, before) != before, f"{name} runs again")
    wait_until(lambda: answers(stack), "the app answers")
    wait_until(
        lambda: [row["ready"] for row in stack.apps()] == ["2/2"], "both replicas are ready again"
    )


def test_killed_supervisor_is_mended_by_up(stack: stacks.Stack) -> None:
    """kill -9 of the supervisor itself: the next up finds the orphans and runs all again."""
    pid = int((stack.home / "instances" / stack.instance / "run/supervisord.pid").read_text())
    os.kill(pid, signal.SIGKILL)

    stack.up()

    wait_until(lambda: set(PROCESSES) <= set(pids(stack)), "everything runs")
    assert answers(stack)
    assert stack.changes() == {}
