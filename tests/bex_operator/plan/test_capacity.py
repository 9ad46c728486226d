"""How much room there is, told to people."""

from typing import Any

import pytest

from bex_operator import api
from bex_operator.plan import capacity

GI = 2**30
NO_SCHEDULE = {"key": "dedicated", "effect": "NoSchedule"}
STARTING = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def node(name: str = "m1", *, ready: bool = True, **spec: Any) -> dict[str, Any]:
    """A machine of two cores and 4 GiB."""
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": "2", "memory": "4Gi"},
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def pod(node: str | None, cpu: str, memory: str) -> dict[str, Any]:
    """A pod of two containers, one of which asks for something."""
    asking = {"resources": {"requests": {"cpu": cpu, "memory": memory}}}
    return {"spec": {"nodeName": node, "containers": [asking, {}]}}


def room(name: str = "m1", **fields: Any) -> capacity.Room:
    """A ready machine of two cores and 4 GiB with nothing on it."""
    whole = {"cpu": 2000, "memory": 4 * GI, "whole_cpu": 2000, "whole_memory": 4 * GI}
    return capacity.Room(**{"name": name, "ready": True, "open": True, **whole, **fields})


def describe(*rooms: capacity.Room, **fields: Any) -> str:
    """What is said to an App of size standard: one core, 2 GiB."""
    given = fields or {"tier": "standard"}
    return capacity.describe(api.App(name="web", image="a/b:1", **given), rooms)


def test_what_pods_ask_for_is_taken() -> None:
    """Pods of others too; those without a machine take nothing."""
    pods = [pod("m1", "500m", "1Gi"), pod("m1", "250m", "1Gi"), pod(None, "1", "1Gi")]

    (found,) = capacity.read([node()], pods)

    assert found == room(cpu=1250, memory=2 * GI)


def test_more_than_there_is_leaves_nothing() -> None:
    """Never less than nothing; what cannot be read counts as nothing."""
    (found,) = capacity.read([node()], [pod("m1", "9", "9Gi"), pod("m1", "1e3", "x")])

    assert (found.cpu, found.memory) == (0, 0)


@pytest.mark.parametrize(
    ("spec", "is_open"),
    [
        ({}, True),
        ({"unschedulable": True}, False),
        ({"taints": [NO_SCHEDULE]}, False),
        ({"taints": [{"key": "x", "effect": "NoExecute"}]}, False),
        ({"taints": [{"key": "x", "effect": "PreferNoSchedule"}]}, True),
        ({"taints": [STARTING]}, True),
    ],
)
def test_machine_that_keeps_apps_away_is_not_open(spec: dict[str, Any], is_open: bool) -> None:
    """Cordoned or tainted by somebody; that it is not ready is another matter."""
    (found,) = capacity.read([node(**spec)], [])

    assert found.open is is_open


def test_machine_that_never_spoke_is_not_ready() -> None:
    """It has no conditions and nothing to give yet."""
    (found,) = capacity.read([{"metadata": {"name": "m1"}}], [])

    assert found == room(ready=False, cpu=0, memory=0, whole_cpu=0, whole_memory=0)
    assert not capacity.read([node(ready=False)], [])[0].ready


def test_free_room_is_told_in_steps() -> None:
    """A number that always moves is a status written for nothing."""
    said = describe(room(cpu=999, memory=GI + 100))

    assert said == "a replica needs 1 CPU and 2Gi memory; free is 0.9 CPU and 1Gi memory on m1"


def test_freest_machine_is_named() -> None:
    """The others have less; closed ones do not count."""
    rooms = [room("m1", cpu=500), room("m2", cpu=700, memory=GI // 2), room("m3", open=False)]

    said = describe(*rooms)

    assert said.endswith("free is 0.7 CPU and 512Mi memory on m2, less on 1 more")


def test_size_that_no_machine_ever_has_is_told() -> None:
    """Waiting would not help."""
    said = describe(room(), room("m2", whole_cpu=1000), tier="pro-ultra")

    assert said == (
        "a replica needs 8 CPU and 32Gi memory; the largest machine has 2 CPU and 4Gi memory in"
        " all: choose a smaller size"
    )
    assert "largest" in describe(room(whole_memory=GI))
    assert "largest" in describe(room(whole_cpu=900))
    assert "largest" not in describe(room(whole_cpu=1000, whole_memory=2 * GI))


def test_machine_on_its_way_is_told() -> None:
    """Help is coming by itself."""
    said = describe(room(cpu=0), room("m2", ready=False))

    assert said.endswith("free is 0 CPU and 4Gi memory on m1; machine m2 is not ready yet")
    assert describe(room(ready=False)) == (
        "a replica needs 1 CPU and 2Gi memory; no machine takes apps; machine m1 is not ready yet"
    )
    assert describe(room(ready=False), replicas=1) == "machine m1 is not ready yet"


def test_app_without_a_size_needs_nothing() -> None:
    """Something else keeps it away from every machine: only the scheduler knows."""
    assert describe(room(), replicas=1) == ""
    assert "0 CPU and 1Gi" in describe(
        room(), resources=api.Resources(limits=api.Amounts(memory="1Gi"))
    )
