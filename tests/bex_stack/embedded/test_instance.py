"""Names and addresses of a cluster follow from a few settings, and bad ones are refused."""

from pathlib import Path
from typing import Any

import pytest

from bex_stack.embedded import instance as instances

HOME = Path("/var/lib/bex")


def test_addresses_follow_from_the_networks() -> None:
    """Machine N has address .(10+N) and the N-th /24 of the pod network."""
    instance = instances.from_inputs(
        {"home": str(HOME), "network": "10.91.0.0/24", "pod_network": "10.245.0.0/16"}
    )
    addresses = [instance.bridge_address, instance.machine_address(2), instance.pod_cidr(2)]

    assert addresses == ["10.91.0.1", "10.91.0.12", "10.245.2.0/24"]


def test_host_names_carry_the_instance() -> None:
    """Everything on the host that is not a file is named after the instance."""
    instance = instances.Instance(home=HOME, name="demo")
    names = (instance.bridge, instance.veth(1), instance.namespace("w"), instance.cgroup("w"))

    assert names == ("demo0", "demo-1", "demo-w", "/demo/w")


def test_longest_names_fit_a_link() -> None:
    """Linux takes 15 characters for the name of a link."""
    instance = instances.Instance(home=HOME, name="abcdefghij")

    assert max(len(instance.bridge), len(instance.veth(instance.slots - 1))) <= 15


def test_simulated_instances_bind_a_loopback_address_of_their_own() -> None:
    """Two simulated instances differ in network, so their control planes never clash."""
    instance = instances.from_inputs(
        {"home": str(HOME), "kind": "simulated", "network": "10.91.7.0/24"}
    )

    assert instance.api_url == "https://127.91.7.1:6443"


def test_inputs_survive_a_round_trip_as_floats() -> None:
    """Pulumi hands every number back as a float."""
    instance = instances.Instance(home=HOME, edge_http_port=8090)
    inputs = {
        key: float(value) if isinstance(value, int) else value
        for key, value in instance.to_inputs().items()
    }

    assert instances.from_inputs(inputs) == instance


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "Bex"}, "name 'Bex' is not"),
        ({"name": "a-b"}, "name 'a-b' is not"),
        ({"name": "abcdefghijk"}, "is not 1-10"),
        ({"network": "10.90.0.0/28"}, "smaller than a /27"),
        ({"network": "10.90.0.1/24"}, "network '10.90.0.1/24' is not an IPv4 network"),
        ({"pod_network": "10.90.0.0/16"}, "overlaps"),
        ({"network": "10.96.3.0/24"}, "overlaps service network"),
        ({"edge_http_port": 0}, "port 0 is outside"),
        ({"edge_http_port": 5050}, "are not all different"),
        ({"kind": "virtual"}, "kind 'virtual'"),
        ({"home": "/a b"}, "home '/a b' is not"),
        ({"home": "/" + "x" * 100}, "is too long"),
        ({"worker": 3}, "unknown setting 'worker'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    """A setting that could not work is named with its value and the rule."""
    with pytest.raises(instances.InstanceError, match=message):
        instances.from_inputs({"home": str(HOME), **settings})


def test_slots_outside_the_network_are_refused() -> None:
    """A machine without an address is refused."""
    with pytest.raises(instances.InstanceError, match="slot 245 is outside 0-244"):
        instances.Instance(home=HOME).machine_address(245)
