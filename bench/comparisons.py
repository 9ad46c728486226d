"""What is measured in the life of a cluster. Every figure comes with the end state read back."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from bench import clusters, measuring, sides
from bex_operator.kube import kinds

WORKERS = 1
"""Workers at first; adding a machine makes it one more."""
_SERVER_SIDE = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
_ADDRESSES = ("clusterIP", "clusterIPs")


def up(side: sides.Side) -> tuple[float, float]:
    """Bring a cluster up from nothing: seconds to the first 200, and to the end of the command."""
    since = time.monotonic()
    command = side.up(WORKERS)
    first = measuring.seconds_until(
        lambda: measuring.edge_answers(side.edge_port, sides.APP_HOST),
        since=since,
        command=command,
        what=f"{side.name}: first 200",
    )
    measuring.finish(command, f"{side.name}: up")
    ended = time.monotonic() - since
    with clusters.Api(side.kubeconfig) as api:
        expect = {"control-plane", *(f"worker-{n + 1}" for n in range(WORKERS))}
        _settle(lambda: api.ready_nodes() == expect, f"{side.name}: nodes {sorted(expect)} Ready")
        _settle(lambda: api.available("hello") == 2, f"{side.name}: two replicas available")
    return first, ended


def add_machine(side: sides.Side) -> tuple[float, float]:
    """Add a machine: seconds until its node is Ready, and to the end of the command."""
    node = f"worker-{WORKERS + 1}"
    with clusters.Api(side.kubeconfig) as api:
        since = time.monotonic()
        command = side.add(WORKERS + 1)
        ready = measuring.seconds_until(
            lambda: api.is_node_ready(node),
            since=since,
            command=command,
            what=f"{side.name}: node {node} Ready",
        )
        measuring.finish(command, f"{side.name}: adding {node}")
        ended = time.monotonic() - since
        if node not in api.ready_nodes():
            raise measuring.BenchError(f"{side.name}: {node} is not Ready at the end")
    return ready, ended


def create_app(bex: sides.Bex, kubectl: str, name: str) -> float:
    """Apply an App object with kubectl: seconds until it answers at the edge."""
    with clusters.Api(bex.kubeconfig) as api:
        hello = _bare(api.get(kinds.APP, "hello", clusters.APPS_NAMESPACE))
    return _applied(bex, kubectl, name, [_renamed(hello, name)])


def create_objects(bex: sides.Bex, kubectl: str, name: str) -> float:
    """Apply what the operator renders of an App, without one: seconds until it answers."""
    with clusters.Api(bex.kubeconfig) as api:
        rendered = [
            _bare(api.get(kind, "hello", clusters.APPS_NAMESPACE))
            for kind in (kinds.DEPLOYMENT, kinds.SERVICE, kinds.INGRESS)
        ]
    return _applied(bex, kubectl, name, [_renamed(each, name) for each in rendered])


def again(bex: sides.Bex) -> Mapping[str, float]:
    """Run commands that have nothing to do: seconds of `up`, `preview`, and of imports alone."""
    environment = bex.environment()
    seconds = {
        "second up": measuring.timed(bex.command("up", "--yes"), "second up", env=environment),
        "preview": measuring.timed(bex.command("preview"), "preview", env=environment),
        "imports": measuring.timed(
            [sys.executable, "-c", "import pulumi, pulumi_kubernetes"], "imports"
        ),
    }
    shown = measuring.finish(bex.start("preview", "--json"), "preview")
    summary = json.loads(shown[shown.index("{") :])["changeSummary"]
    if set(summary) - {"same"}:
        raise measuring.BenchError(f"there was something left to do: {summary}")
    return seconds


def _applied(bex: sides.Bex, kubectl: str, name: str, objects: list[dict[str, Any]]) -> float:
    command = [kubectl, f"--kubeconfig={bex.kubeconfig}", "apply", "-f", "-"]
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    since = time.monotonic()
    applying = measuring.start(command, stdin=subprocess.PIPE)
    assert applying.stdin is not None
    applying.stdin.write(given)
    applying.stdin.close()
    applying.stdin = None  # or communicate() would use it
    seconds = measuring.seconds_until(
        lambda: measuring.edge_answers(bex.edge_port, f"{name}.localhost"),
        since=since,
        command=applying,
        what=f"{name}: first 200",
    )
    measuring.finish(applying, f"{name}: kubectl apply")
    with clusters.Api(bex.kubeconfig) as api:
        _settle(lambda: api.available(name) == 2, f"{name}: two replicas available")
    return seconds


def _settle(is_true: Any, what: str) -> None:
    """Read the end state back; the second replica may come a moment after the first 200."""
    deadline = time.monotonic() + 60
    while not is_true():
        if time.monotonic() > deadline:
            raise measuring.BenchError(f"not so at the end: {what}")
        time.sleep(measuring.POLL_SECONDS)


def _bare(found: Mapping[str, Any]) -> dict[str, Any]:
    """An object as a person would write it: without what servers and the operator added."""
    wanted = copy.deepcopy(dict(found))
    wanted.pop("status", None)
    kept = {"name", "namespace"}
    wanted["metadata"] = {key: wanted["metadata"][key] for key in kept}
    for key in _ADDRESSES:
        wanted["spec"].pop(key, None)
    return wanted


def _renamed(value: Any, name: str) -> Any:
    """Give everything called hello another name."""
    if isinstance(value, dict):
        return {key: _renamed(each, name) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, name) for each in value]
    return (
        {"hello": name, sides.APP_HOST: f"{name}.localhost"}.get(value, value)
        if isinstance(value, str)
        else value
    )
