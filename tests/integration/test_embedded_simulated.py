"""Simulated machines: a real control plane without root, nodes that run no containers."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bex_operator.kube import kinds
from bex_stack.embedded import (
    firewall,
    machine_config,
    network,
    providers,
    simulated,
    teardown,
)
from tests.support import embedded as support


@pytest.fixture(scope="module")
def made() -> Iterator[support.Embedded]:
    """A simulated instance with its control plane."""
    home = Path(tempfile.mkdtemp(prefix="bex-k-"))
    try:
        made = support.make_embedded("kwok", 97, home, kind="simulated")
        inputs = {"instance": made.instance.to_inputs()}
        providers.HostProvider().create(inputs)
        providers.ClusterProvider().create(inputs)
        yield made
    finally:
        teardown.destroy(made.instance)
        shutil.rmtree(home)


def test_pods_run_on_simulated_machines(made: support.Embedded) -> None:
    """A hundred nodes become Ready, and two hundred pods Running on them."""
    fleet = [machine_config.Machine(f"m{number}", 1) for number in range(100)]
    simulated.ensure_nodes(made.instance, fleet)
    with made.namespace("fleet") as namespace:
        made.apply(support.deployment(namespace, replicas=200))
        support.wait_until(lambda: len(made.ready_pods(namespace)) == 200, "200 pods run")
        taken = {pod["spec"]["nodeName"] for pod in made.ready_pods(namespace)}

    assert taken <= {machine.name for machine in fleet}


def test_a_simulated_machine_joins_and_leaves(made: support.Embedded) -> None:
    """The machine resource works alike: Ready, settled, drained, gone."""
    provider = providers.MachineProvider()
    inputs = {"instance": made.instance.to_inputs(), "machine": "s1", "slot": 1, "role": "worker"}
    outs = provider.create(inputs).outs
    settled = not provider.diff("id", outs, inputs).changes
    provider.delete("id", outs)
    nodes = made.ask(lambda api: api.list(kinds.NODE)).items

    assert settled
    assert "s1" not in {node["metadata"]["name"] for node in nodes}


def test_a_simulated_instance_touches_no_network_of_the_host(made: support.Embedded) -> None:
    """The control plane listens on loopback; there is no bridge, no rule, no namespace."""
    assert made.instance.api_url.startswith("https://127.97.")
    assert network.leftovers(made.instance) == []
    assert not firewall.exists(made.instance)
