"""Runs a command in an app's container, by kubectl: it knows terminals, signals and streams."""

import subprocess
import sys
from collections.abc import Sequence

from bex_operator import api
from bex_operator.api import names
from bex_stack import app_access, errors, targets
from bex_stack.embedded import toolchain


async def choose_pod(target: targets.Target, name: str, pod: str | None) -> str:
    """Return the pod of app *name* to run a command in: *pod*, or the first that is ready.

    Raises:
        errors.StackError: there is no such App, or no such pod of it.
    """
    async with app_access.client(target) as cluster:
        await app_access.read(cluster, name)
        found = await app_access.pods(cluster, name)
    known = [each["metadata"]["name"] for each in found]
    if pod is not None:
        if pod not in known:
            listed = ", ".join(known) or "none"
            raise errors.StackError(f"App {name} has no pod {pod!r}; it has {listed}")
        return pod
    ready = [each["metadata"]["name"] for each in found if app_access.is_pod_ready(each)]
    if not ready:
        raise errors.StackError(f"App {name} has no pod that is ready; `bex why {name}` says why")
    return str(ready[0])


def execute(target: targets.Target, pod: str, command: Sequence[str]) -> int:
    """Run *command* in *pod* with this command's input and output; return its exit code."""
    kubectl = toolchain.ensure(("kubectl",)).path("kubectl")
    terminal = ["--stdin", "--tty"] if sys.stdin.isatty() else ["--stdin"]
    arguments = [
        "--namespace",
        api.NAMESPACE,
        "exec",
        *terminal,
        pod,
        "--container",
        names.CONTAINER,
    ]
    done = subprocess.run(
        [kubectl, "--kubeconfig", target.instance.kubeconfig, *arguments, "--", *command],
        check=False,
    )
    return done.returncode
