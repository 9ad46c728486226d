"""Machines join and leave an embedded cluster while it works."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bex_operator.kube import kinds
from bex_stack.embedded import drain, machine_config, machines, network, supervision
from tests.support import embedded as support

EXTRA = machine_config.Machine("worker-3", 3)


@pytest.fixture
def extra(embedded: support.Embedded) -> Iterator[machine_config.Machine]:
    """A third worker, removed again whatever a test did to it."""
    embedded.ensure_machine(EXTRA)
    # A Ready node has its taint a moment longer, and pods go elsewhere meanwhile.
    support.wait_until(lambda: not _taints(embedded), f"{EXTRA.name} has no taints")
    yield EXTRA
    machines.remove(embedded.instance, EXTRA)
    drain.forget_machine(embedded.instance, EXTRA.name)


@pytest.fixture
def hello(embedded: support.Embedded, extra: machine_config.Machine) -> Iterator[str]:
    """The namespace of three pods behind a Service, one on each worker."""
    with embedded.namespace("test-scaling") as namespace:
        deployment = support.deployment(namespace, replicas=3, **support.SPREAD)
        embedded.apply(deployment, support.service(namespace))
        support.wait_until(lambda: len(embedded.ready_pods(namespace)) == 3, "three pods are Ready")
        yield namespace


def test_a_new_machine_takes_pods(embedded: support.Embedded, hello: str) -> None:
    """A machine that joined runs one of three spread pods."""
    taken = sorted(pod["spec"]["nodeName"] for pod in embedded.ready_pods(hello))

    assert taken == ["worker-1", "worker-2", "worker-3"]


def test_a_drain_respects_budgets_and_says_what_holds_it(
    embedded: support.Embedded, hello: str
) -> None:
    """Pods their budget does not let go stay; the failed drain names them."""
    embedded.apply(support.budget(hello, min_available=3))
    support.wait_until(lambda: _allowed(embedded, hello) == 0, "the budget is known")
    told: list[str] = []
    with pytest.raises(drain.NotDrained, match=f"{hello}/hello-.* is held back"):
        drain.drain_machine(embedded.instance, EXTRA.name, timeout_seconds=2, tell=told.append)

    assert len(embedded.ready_pods(hello)) == 3
    assert any("is held back" in line for line in told)


def test_a_drained_machine_leaves_without_a_failed_request(
    embedded: support.Embedded, hello: str
) -> None:
    """Under a steady load a machine drains within the budget and is gone without a trace."""
    embedded.apply(support.budget(hello, min_available=2))
    support.wait_until(lambda: _allowed(embedded, hello) == 1, "the budget is known")
    with _load(embedded, hello) as failures:
        drain.drain_machine(embedded.instance, EXTRA.name)
        left = {pod["spec"].get("nodeName") for pod in embedded.pods(hello)}
        machines.remove(embedded.instance, EXTRA)
        drain.forget_machine(embedded.instance, EXTRA.name)
    nodes = embedded.ask(lambda api: api.list(kinds.NODE)).items

    assert EXTRA.name not in left
    assert EXTRA.name not in {node["metadata"]["name"] for node in nodes}
    assert not [name for name in network.leftovers(embedded.instance) if name.endswith("-3")]
    assert not [name for name in supervision.states(embedded.instance) if EXTRA.name in name]
    assert failures == []


def _taints(embedded: support.Embedded) -> list[dict[str, str]]:
    """What keeps pods off the third worker."""
    node = embedded.ask(lambda api: api.get(kinds.NODE, EXTRA.name))
    taints: list[dict[str, str]] = node["spec"].get("taints", [])
    return taints


@contextlib.contextmanager
def _load(embedded: support.Embedded, namespace: str) -> Iterator[list[str]]:
    """Ask the Service from a machine until the block ends; then fill the list with what failed.

    The block starts with the first answer: until then the machine may not know the Service yet.
    """
    found = embedded.ask(lambda api: api.get(kinds.SERVICE, "hello", namespace))
    url = f"http://{found['spec']['clusterIP']}/"
    netns = network.netns_file(embedded.instance, "worker-1")
    process = subprocess.Popen(
        ["nsenter", f"--net={netns}", sys.executable, "-c", _LOAD, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    failures: list[str] = []
    try:
        assert process.stdout.readline() == "answers\n", "the Service never answered"
        yield failures
    finally:
        output, _ = process.communicate(timeout=60)  # closes its input, which ends it
    *failed, total = output.splitlines()
    failures.extend(failed)
    assert int(total) > 50, "the load was steady"


_LOAD = """
import select, sys, time, urllib.request
total = 0
started = time.monotonic()
while time.monotonic() - started < 60:
    try:
        urllib.request.urlopen(sys.argv[1], timeout=30).read()
    except OSError:
        time.sleep(0.05)
    else:
        print("answers", flush=True)
        break
started = time.monotonic()
while not select.select([sys.stdin], [], [], 0.01)[0]:
    total += 1
    try:
        urllib.request.urlopen(sys.argv[1], timeout=30).read()
    except OSError as exc:
        print(f"after {time.monotonic() - started:.2f} s: {exc}")
print(total)
"""


def _allowed(embedded: support.Embedded, namespace: str) -> int:
    found = embedded.ask(lambda api: api.get(kinds.POD_DISRUPTION_BUDGET, "hello", namespace))
    return int(found.get("status", {}).get("disruptionsAllowed", -1))
