"""`bex dev operator`: the operator from this checkout, in the foreground, anew after every change.

Meanwhile the one that the stack has is away; it is put back at the end.
"""

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich import console as consoles

from bex_operator import api
from bex_operator.kube import client as kube
from bex_operator.kube import errors as kube_errors
from bex_operator.kube import kinds
from bex_stack import app_access, errors, targets
from bex_stack.embedded import (
    commands,
    identities,
    operator_image,
    overlay,
    processes,
    services,
    supervision,
)
from bex_stack.embedded import instance as instances
from components.manifests import operator_pod

LOOK_SECONDS = 0.5
END_SECONDS = 30.0
"""How long the operator may take to finish what is in flight."""
AWAY_SECONDS = 120.0

Times = Mapping[Path, int]


def run(target: targets.Target, console: consoles.Console) -> None:
    """Run until interrupted.

    Raises:
        errors.StackError: the stack is not up, or its operator does not go away.
    """
    instance = target.instance
    command = commands.operator(instance)
    if not instance.kubeconfig.exists():
        raise errors.StackError(f"stack {target.stack} is not up: run bex up first")
    identities.ensure_kubeconfig(instance, commands.OPERATOR_USER)
    console.print(
        f"operator from {operator_image.SOURCE}; Ctrl-C ends it and puts the stack's back"
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        # Explicitly: a shell's background jobs begin with the first one ignored.
        signal.signal(number, signal.default_int_handler)
    away = _without_pods(target) if target.embedded.has_operator_pod else _without(instance)
    with contextlib.suppress(KeyboardInterrupt), away:
        _keep_running(command.command, console)


@contextlib.contextmanager
def _without_pods(target: targets.Target) -> Iterator[None]:
    """Scale the operator's pods away, and back to what the settings say."""
    app_access.run(_scale(target, 0))
    try:
        yield
    finally:
        app_access.run(_scale(target, overlay.operator_replicas(target.embedded.workers)))


async def _scale(target: targets.Target, replicas: int) -> None:
    async with app_access.client(target) as cluster:
        try:
            await cluster.patch(
                kinds.DEPLOYMENT,
                operator_pod.NAME,
                api.SYSTEM_NAMESPACE,
                {"spec": {"replicas": replicas}},
            )
        except kube_errors.NotFound as exc:
            raise errors.StackError("the stack has no operator yet: run bex up first") from exc
        if replicas == 0:
            await _wait_gone(cluster)


async def _wait_gone(cluster: kube.Client) -> None:
    labels = f"app.kubernetes.io/name={operator_pod.NAME}"
    end = time.monotonic() + AWAY_SECONDS
    while (await cluster.list(kinds.POD, api.SYSTEM_NAMESPACE, labels=labels)).items:
        if time.monotonic() > end:
            raise errors.StackError(f"the operator's pods are not gone after {AWAY_SECONDS:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def _without(instance: instances.Instance) -> Iterator[None]:
    """Stop the process beside the cluster, and start it again."""
    given = commands.operator(instance)
    process = processes.Process(given.name, given.command, given.env, priority=200)
    supervision.remove(instance, [given.name])
    try:
        yield
    finally:
        services.ensure_process(instance, process, user=given.user, ready=given.ready)


def _keep_running(command: tuple[str, ...], console: consoles.Console) -> None:
    """Start the operator anew whenever its modules change; one that ended waits for a change."""
    while True:
        seen = _times()
        # It goes with this process, however that ends.
        running = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command])
        try:
            _wait_for_change(seen, running, console)
        finally:
            _end(running)
        console.print("changed: starting anew")


def _wait_for_change(
    seen: Times, running: subprocess.Popen[bytes], console: consoles.Console
) -> None:
    is_told = False
    while _times() == seen:
        if running.poll() is not None and not is_told:
            console.print(f"the operator ended with {running.returncode}; waiting for a change")
            is_told = True
        time.sleep(LOOK_SECONDS)


def _times() -> Times:
    found = {}
    for module in operator_image.SOURCE.rglob("*.py"):
        with contextlib.suppress(FileNotFoundError):  # an editor replaces files
            found[module] = module.stat().st_mtime_ns
    return found


def _end(running: subprocess.Popen[bytes]) -> None:
    if running.poll() is None:
        running.send_signal(signal.SIGTERM)
    try:
        running.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()
