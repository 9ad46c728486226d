"""The operator as pods, from source beside the cluster, and in the foreground for work on it."""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

from bex_operator import api
from bex_operator.kube import client as kube
from bex_operator.kube import errors, kinds
from bex_stack.embedded import operator_image
from components.manifests import operator_pod
from tests.support import requests, stacks
from tests.support.waiting import wait_until


def ready_pods(stack: stacks.Stack) -> int:
    """How many of the operator's pods are ready; 0 if it has no Deployment."""

    async def count() -> int:
        async with kube.Client.from_kubeconfig(requests.kubeconfig(stack)) as client:
            try:
                found = await client.get(kinds.DEPLOYMENT, operator_pod.NAME, api.SYSTEM_NAMESPACE)
            except errors.NotFound:
                return 0
        return int(found["status"].get("readyReplicas", 0))

    return asyncio.run(count())


def processes(stack: stacks.Stack) -> set[str]:
    """Names of the processes that run beside the cluster."""
    found = json.loads(stack.bex("status", "--json").stdout)["processes"]
    return {process["name"] for process in found if process["state"] == "RUNNING"}


def test_operator_is_pods_with_a_log(stack: stacks.Stack) -> None:
    """Two replicas, no process; the log names its pod in every line."""
    assert ready_pods(stack) == 2
    assert "operator" not in processes(stack)

    lines = stack.bex("logs", "--component", "operator").stdout.splitlines()
    assert any("operator.leading" in line for line in lines)
    assert all(line.startswith(operator_pod.NAME) for line in lines)


def test_operator_moves_out_of_the_cluster_and_back(stack: stacks.Stack) -> None:
    """`bex:operator: source` makes it a process, which does the same work; without it, pods."""
    stack.set_config("bex:operator", "source")
    stack.write_app("hello", replicas=3)
    try:
        stack.up()
        outside = ready_pods(stack), "operator" in processes(stack), stack.apps()[0]["ready"]
    finally:
        stack.set_config("bex:operator", "pod")
        stack.write_app("hello", replicas=2)
        stack.up()

    assert outside == (0, True, "3/3")
    assert "operator" not in processes(stack)
    assert ready_pods(stack) == 2
    assert stack.apps()[0]["ready"] == "2/2"


def test_operator_in_the_foreground_starts_anew_after_a_change(
    stack: stacks.Stack, tmp_path: Path
) -> None:
    """Meanwhile there are no pods; an interrupt ends it and brings them back."""
    log = tmp_path / "log"

    def times_led() -> int:
        return log.read_text().count("operator.leading")

    with log.open("w") as written:
        running = subprocess.Popen(
            stack.command("dev", "operator"),
            env=stack.env(),
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: times_led() == 1, "it leads")
        pods = ready_pods(stack)
        os.utime(operator_image.SOURCE / "__main__.py")
        wait_until(lambda: times_led() == 2, "it leads again after a change")
    finally:
        running.send_signal(signal.SIGINT)
        code = running.wait(120)

    assert pods == 0
    assert code == 0
    wait_until(lambda: ready_pods(stack) == 2, "the pods are back")
    assert stack.changes() == {}
