"""Whatever of an embedded cluster is killed comes back by itself, or with the next ensure."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bex_stack.embedded import control_plane, machine_processes, machines, network, supervision
from tests.support import embedded as support

WORKER = "worker-1"


@pytest.fixture(scope="module")
def hello(embedded: support.Embedded) -> Iterator[str]:
    """The namespace of two pods behind a Service, one on each worker."""
    with embedded.namespace("test-faults") as namespace:
        deployment = support.deployment(namespace, replicas=2, **support.SPREAD)
        embedded.apply(deployment, support.service(namespace))
        support.wait_until(lambda: has_two_ready(embedded, namespace), "two pods are Ready")
        yield namespace


def has_two_ready(embedded: support.Embedded, namespace: str) -> bool:
    """Whether both pods are Ready and answer."""
    pods = embedded.ready_pods(namespace)
    for pod in pods:
        try:
            support.fetch(f"http://{pod['status']['podIP']}:8080/")
        except OSError:
            return False
    return len(pods) == 2


def running_pid(embedded: support.Embedded, name: str) -> int:
    """Id of a supervised process, once it runs: it may be on its way back after others' faults."""
    found: list[int] = []

    def runs() -> bool:
        found.append(supervision.states(embedded.instance)[name].pid)
        return found[-1] > 0  # to kill 0 would be to kill the whole test run

    support.wait_until(runs, f"{name} runs")
    return found[-1]


def is_healed(embedded: support.Embedded, namespace: str, killed: str, pid: int) -> bool:
    """Whether *killed* runs with another id, all machines are as wanted and the pods answer."""
    state = supervision.states(embedded.instance).get(killed)
    if state is None or not state.is_alive or state.pid == pid:
        return False
    programs = embedded.tools.paths
    return all(
        machines.is_settled(embedded.instance, machine, programs) for machine in support.MACHINES
    ) and has_two_ready(embedded, namespace)


@pytest.mark.parametrize(
    "name",
    [*control_plane.NAMES, "coredns", "registry", *machine_processes.names(WORKER)],
)
def test_a_killed_process_comes_back(embedded: support.Embedded, hello: str, name: str) -> None:
    """kill -9 of any supervised process heals without a person."""
    pid = running_pid(embedded, name)
    os.kill(pid, signal.SIGKILL)

    support.wait_until(lambda: is_healed(embedded, hello, name, pid), f"{name} healed")


@pytest.mark.parametrize("program", machine_processes.PROGRAMS)
def test_a_program_killed_inside_its_machine_comes_back(
    embedded: support.Embedded, hello: str, program: str
) -> None:
    """kill -9 of the program itself, not of what keeps it, heals as well, and leaves one of it."""
    name = f"{WORKER}-{program}"
    keeper = running_pid(embedded, name)
    os.kill(_child(keeper), signal.SIGKILL)

    support.wait_until(lambda: is_healed(embedded, hello, name, keeper), f"{name} healed")


def test_a_killed_first_process_ends_and_restarts_its_machine(
    embedded: support.Embedded, hello: str
) -> None:
    """kill -9 of a machine's pid 1 ends all of the machine; it comes back with its pods."""
    pid = machines.init_pid(embedded.instance, WORKER)
    assert pid is not None
    keeper = running_pid(embedded, WORKER)
    os.kill(pid, signal.SIGKILL)

    support.wait_until(lambda: is_healed(embedded, hello, WORKER, keeper), "the machine healed")


def test_a_machine_without_its_network_is_mended_by_ensure(
    embedded: support.Embedded, hello: str
) -> None:
    """A machine whose namespace and cable were taken away is not settled, and ensure mends it."""
    machine = support.MACHINES[1]
    network.remove_machine(embedded.instance, machine.name, machine.slot)
    settled = machines.is_settled(embedded.instance, machine, embedded.tools.paths)
    embedded.ensure_machine(machine)

    assert not settled
    support.wait_until(lambda: has_two_ready(embedded, hello), "the pods answer again")


def test_a_stopped_machine_is_noticed_and_its_pods_move(
    embedded: support.Embedded, hello: str
) -> None:
    """A machine that stays down becomes NotReady, its pod runs elsewhere; ensure heals."""
    machine = support.MACHINES[2]
    supervision.stop(embedded.instance, machine_processes.names(machine.name))
    support.wait_until(lambda: not embedded.is_node_ready(machine.name), "it is NotReady")
    settled = machines.is_settled(embedded.instance, machine, embedded.tools.paths)
    support.wait_until(
        lambda: _nodes(embedded, hello) == {WORKER, ""} or _nodes(embedded, hello) == {WORKER},
        "the pod is taken from it",
    )
    embedded.ensure_machine(machine)

    assert not settled
    support.wait_until(lambda: has_two_ready(embedded, hello), "both pods are Ready again")


def _nodes(embedded: support.Embedded, namespace: str) -> set[str]:
    return {pod["spec"].get("nodeName", "") for pod in embedded.pods(namespace)}


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
