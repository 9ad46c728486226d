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


def test_apps_come_after_machines_images_and_edge(steps: list[dict[str, Any]]) -> None:
    """An App depends on all that it needs to become Ready but the operator, which looks for it."""
    order = [step["urn"].rsplit("::", 1)[-1] for step in steps]

    before = {"worker-1", "registry-hello-go", "registry-pause", "platform-edge"}
    assert all(order.index(name) < order.index("hello") for name in before)


def test_what_runs_the_projects_modules_changes_with_them(steps: list[dict[str, Any]]) -> None:
    """Their digest is an input: an up after an edit makes the image and starts the feeder anew."""
    image = state_of(steps, "registry-operator")["inputs"]
    feeder = state_of(steps, "platform-edge")["inputs"]

    assert len(image["source_digest"]) == 16
    assert len(feeder["env"]["BEX_SOURCE"]) == 16


def test_operator_runs_in_the_cluster(steps: list[dict[str, Any]]) -> None:
    """Two replicas on a stack of two machines, from the image that this run makes."""
    deployment = state_of(steps, "operator-deployment-bex-controller-manager")

    assert deployment["inputs"]["spec"]["replicas"] == 2
    assert any(urn.endswith("::registry-operator") for urn in deployment["dependencies"])
    assert not any(step["urn"].endswith("::platform-operator") for step in steps)


@pytest.mark.parametrize(
    "setting", [("bex:operator", "source"), ("bex:machines", "simulated")], ids=["asked", "no-pods"]
)
def test_operator_runs_from_source_where_it_is_asked_for_or_nothing_else_works(
    tmp_path_factory: pytest.TempPathFactory, setting: tuple[str, str]
) -> None:
    """Then it is a process beside the cluster, started anew when its modules change."""
    made = stacks.make(tmp_path_factory.mktemp("program"), number=8)
    made.set_config(*setting)
    steps: list[dict[str, Any]] = json.loads(made.bex("preview", "--json").stdout)["steps"]

    inputs = state_of(steps, "platform-operator")["inputs"]
    assert len(inputs["env"]["BEX_SOURCE"]) == 16
    assert not any(step["urn"].endswith("deployment-bex-controller-manager") for step in steps)


def test_everything_in_the_cluster_goes_with_it(steps: list[dict[str, Any]]) -> None:
    """Destroy stops the cluster instead of emptying it first."""
    kept = [
        state["urn"]
        for state in (step["newState"] for step in steps)
        if state["custom"]
        and state["type"].startswith(KUBERNETES)
        and not state.get("deletedWith", "").endswith("::app-cluster-host")
    ]

    assert kept == []


@pytest.fixture(scope="module")
def building(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The steps of a first preview of a stack whose app has a repository."""
    made = stacks.make(tmp_path_factory.mktemp("building"), number=8)
    made.write_app("web", image=None, repo="https://git.example.com/team/web")
    found: list[dict[str, Any]] = json.loads(made.bex("preview", "--json").stdout)["steps"]
    return found


def test_only_a_stack_with_a_repository_has_a_builder(
    steps: list[dict[str, Any]], building: list[dict[str, Any]]
) -> None:
    """BuildKit takes minutes to compile; nobody else pays for it."""

    def builders(of: list[dict[str, Any]]) -> list[str]:
        return [each["urn"] for each in of if each["urn"].endswith("::registry-builder")]

    assert (len(builders(steps)), len(builders(building))) == (0, 1)


def test_operator_that_builds_reads_how_from_a_secret(building: list[dict[str, Any]]) -> None:
    """Its pods mount it beside the registry's key; no App may name either."""
    mounted = [
        step["newState"]["inputs"] for step in building if "::operator-secret-" in step["urn"]
    ]
    pod = state_of(building, "operator-deployment-bex-controller-manager")["inputs"]
    volumes = pod["spec"]["template"]["spec"]["volumes"]

    names = [each["metadata"]["name"] for each in mounted]
    assert sorted(each["secret"]["secretName"] for each in volumes) == sorted(names)
    assert any(name.startswith("bex-builds-") for name in names)
    for each in mounted:
        assert each["metadata"]["labels"] == {"app.bex.co/protected-from-tenant-mount": "true"}
