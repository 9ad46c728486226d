"""The program as a preview shows it, without a cluster."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import stacks

KUBERNETES = "kubernetes:"


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The steps of a first preview of a stack with one worker and the app `hello`."""
    folder: Path = tmp_path_factory.mktemp("program")
    made = stacks.make(folder, number=8)
    made.write_app("hello", replicas=2)
    found: list[dict[str, Any]] = json.loads(made.bex("preview", "--json").stdout)["steps"]
    return found


def state_of(steps: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The new state of the one resource called *name*."""
    (found,) = [step["newState"] for step in steps if step["urn"].endswith(f"::{name}")]
    return dict(found)


def test_every_resource_but_components_of_the_stack_has_a_component(
    steps: list[dict[str, Any]],
) -> None:
    """Everything real hangs below a component: its type stands in the URN before its own."""
    orphans = [
        step["urn"]
        for step in steps
        if step["newState"]["custom"]
        and "$" not in step["urn"]
        and not step["newState"]["type"].startswith("pulumi:providers:")
    ]

    assert orphans == []


def test_machines_are_a_control_plane_and_the_workers(steps: list[dict[str, Any]]) -> None:
    """Each machine has a name and a slot of its own."""
    machines = {
        state["inputs"]["machine"]: (state["inputs"]["slot"], state["inputs"]["role"])
        for state in (step["newState"] for step in steps)
        if state["type"].endswith(":Machine")
    }

    assert machines == {"control-plane": (0, "control-plane"), "worker-1": (1, "worker")}


def test_app_object_holds_what_its_module_says(steps: list[dict[str, Any]]) -> None:
    """The App is registered as written, and awaited until it is Ready."""
    inputs = state_of(steps, "hello")["inputs"]

    assert inputs["apiVersion"] == "app.bex.co/v1alpha1"
    assert inputs["metadata"]["namespace"] == "bex-apps"
    assert inputs["metadata"]["annotations"]["pulumi.com/waitFor"] == "condition=Ready"
    assert inputs["spec"]["image"] == "localhost:5050/bex/hello-go:1"
    assert inputs["spec"]["replicas"] == 2


def test_apps_come_after_machines_images_and_operator(steps: list[dict[str, Any]]) -> None:
    """An App depends on all that it needs to become Ready."""
    order = [step["urn"].rsplit("::", 1)[-1] for step in steps]

    before = {"worker-1", "registry-hello-go", "registry-pause", "platform-operator"}
    assert all(order.index(name) < order.index("hello") for name in before)


@pytest.mark.parametrize("process", ["platform-operator", "platform-edge"])
def test_processes_run_from_source_change_with_it(
    steps: list[dict[str, Any]], process: str
) -> None:
    """The digest of the modules is an input: an up after an edit starts them anew."""
    inputs = state_of(steps, process)["inputs"]

    assert len(inputs["env"]["BEX_SOURCE"]) == 16


def test_everything_in_the_cluster_goes_with_it(steps: list[dict[str, Any]]) -> None:
    """Destroy stops the cluster instead of emptying it first."""
    kept = [
        state["urn"]
        for state in (step["newState"] for step in steps)
        if state["custom"]
        and state["type"].startswith(KUBERNETES)
        and not state.get("deletedWith", "").endswith("::app-cluster-control-plane")
    ]

    assert kept == []
