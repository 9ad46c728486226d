"""The made-up Hetzner API, asked by Hetzner's own client: what other tests build on."""

from collections.abc import Iterator

import hcloud
import pytest
import requests
from hcloud import actions
from hcloud.firewalls import FirewallRule
from hcloud.images import Image
from hcloud.load_balancer_types import LoadBalancerType
from hcloud.load_balancers import LoadBalancerTarget, LoadBalancerTargetLabelSelector
from hcloud.locations import Location
from hcloud.networks import NetworkSubnet
from hcloud.server_types import ServerType
from hcloud.servers import ServerCreatePublicNetwork

from tests.support import hetzner_api
from tests.support.hetzner_api import Hetzner

CX33, UBUNTU, FSN1 = ServerType(name="cx33"), Image(name="ubuntu-24.04"), Location(name="fsn1")


@pytest.fixture
def client(hetzner: Hetzner) -> Iterator[hcloud.Client]:
    """The official client; it asks again at once, for the clock here is the number of requests."""
    made = hcloud.Client(hetzner_api.TOKEN, hetzner.url, poll_interval=0, timeout=60)
    yield made
    made._client._session.close()


def test_server_runs_once_its_action_has_ended(client: hcloud.Client, hetzner: Hetzner) -> None:
    """It is there at once, initializing, and the client waits for the action."""
    made = client.servers.create("web", CX33, UBUNTU, location=FSN1, labels={"a": "b"})
    first = made.server.status
    made.action.wait_until_finished()
    found = client.servers.get_by_name("web")

    assert (first, found.status, found.labels) == ("initializing", "running", {"a": "b"})
    assert found.public_net.ipv4.ip.startswith("203.0.113.")
    assert len(hetzner.project.things["primary_ips"]) == 1


def test_server_takes_its_own_address_along_and_leaves_its_group(client: hcloud.Client) -> None:
    """What was made with it goes with it; what it was put into stays."""
    group = client.placement_groups.create("spread", "spread").placement_group
    made = client.servers.create("web", CX33, UBUNTU, location=FSN1, placement_group=group)
    before = client.placement_groups.get_by_name("spread").servers
    made.server.delete().wait_until_finished()

    assert before == [made.server.id]
    assert client.servers.get_all() == client.primary_ips.get_all() == []
    assert client.placement_groups.get_by_name("spread").servers == []


def test_eleventh_server_of_a_placement_group_is_refused(
    client: hcloud.Client, hetzner: Hetzner
) -> None:
    """Ten is what a group takes."""
    group = client.placement_groups.create("spread", "spread").placement_group
    for number in range(10):
        hetzner.seed("servers", name=f"web-{number}", placement_group=group.id)

    with pytest.raises(hcloud.APIException) as refused:
        client.servers.create("web-10", CX33, UBUNTU, location=FSN1, placement_group=group)
    assert refused.value.code == "placement_error"


def test_networks_load_balancers_firewalls_and_volumes_are_made_and_changed(
    client: hcloud.Client,
) -> None:
    """Every kind the stack has goes through the client's own classes."""
    subnet = NetworkSubnet("10.1.0.0/24", "cloud", "eu-central")
    network = client.networks.create("net", "10.1.0.0/16", subnets=[subnet])
    balancer = client.load_balancers.create(
        "edge", LoadBalancerType(name="lb11"), location=FSN1
    ).load_balancer
    balancer.attach_to_network(network).wait_until_finished()
    target = LoadBalancerTarget(
        "label_selector", label_selector=LoadBalancerTargetLabelSelector("x=y"), use_private_ip=True
    )
    balancer.add_target(target).wait_until_finished()
    rule = FirewallRule("in", "tcp", ["192.0.2.0/24"], port="22")
    wall = client.firewalls.create("wall", rules=[rule]).firewall
    volume = client.volumes.create(10, "data", location=FSN1).volume
    volume.change_protection(delete=True).wait_until_finished()

    found = client.load_balancers.get_by_name("edge")
    assert found.private_net[0].network.id == network.id
    assert found.targets[0].label_selector.selector == "x=y"
    assert client.firewalls.get_by_id(wall.id).rules[0].port == "22"
    with pytest.raises(hcloud.APIException, match="protected"):
        volume.delete()


def test_server_with_an_address_of_ours_keeps_it_for_the_next(client: hcloud.Client) -> None:
    """A primary address outlives its server unless it was told to go."""
    address = client.primary_ips.create("ipv4", "infra", location=FSN1, auto_delete=False)
    public = ServerCreatePublicNetwork(ipv4=address.primary_ip, enable_ipv6=False)
    made = client.servers.create("infra", CX33, UBUNTU, location=FSN1, public_net=public)
    with pytest.raises(hcloud.APIException, match="assigned"):
        client.primary_ips.delete(address.primary_ip)
    made.server.delete().wait_until_finished()

    assert client.primary_ips.get_by_name("infra").assignee_id is None


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("stack=one", {"a", "b"}),
        ("stack==one,tier=web", {"a"}),
        ("stack!=one", {"c", "d"}),
        ("tier", {"a", "c"}),
        ("!tier", {"b", "d"}),
        ("stack in (one, two),tier", {"a", "c"}),
        ("stack notin (one)", {"c", "d"}),
        ("example.org/key", {"d"}),
    ],
)
def test_label_selectors_choose(
    client: hcloud.Client, hetzner: Hetzner, selector: str, names: set[str]
) -> None:
    """Equality, inequality, existence and sets, joined by commas."""
    labels = {
        "a": {"stack": "one", "tier": "web"},
        "b": {"stack": "one"},
        "c": {"stack": "two", "tier": "db"},
        "d": {"example.org/key": ""},
    }
    for name, each in labels.items():
        hetzner.seed("networks", name=name, labels=each)

    assert {each.name for each in client.networks.get_all(label_selector=selector)} == names


def test_long_lists_come_in_pages(client: hcloud.Client, hetzner: Hetzner) -> None:
    """The client follows them to the end; sorting is the server's."""
    for number in range(120):
        hetzner.seed("ssh_keys", name=f"key-{number:03}")
    first = client.ssh_keys.get_list(page=1, per_page=50)
    found = client.ssh_keys.get_all()

    assert len(found) == len({each.id for each in found}) == 120
    assert (first.meta.pagination.total_entries, first.meta.pagination.last_page) == (120, 3)
    asked = client.request("GET", "/ssh_keys", params={"sort": "name:desc", "per_page": 1})
    assert [each["name"] for each in asked["ssh_keys"]] == ["key-119"]


def test_name_that_is_taken_is_refused(client: hcloud.Client, hetzner: Hetzner) -> None:
    """Names are unique by kind."""
    hetzner.seed("networks", name="bex")

    with pytest.raises(hcloud.APIException) as refused:
        client.networks.create("bex", "10.1.0.0/16")
    assert refused.value.code == "uniqueness_error"


def test_action_that_fails_after_the_create_is_told(
    client: hcloud.Client, hetzner: Hetzner
) -> None:
    """The thing is there, and not what was wanted: the worst of faults."""
    hetzner.project.failing["create_server"] = "unable_to_create"
    made = client.servers.create("web", CX33, UBUNTU, location=FSN1)

    with pytest.raises(actions.ActionFailedException, match="create_server failed"):
        made.action.wait_until_finished()
    assert client.servers.get_by_name("web").status == "initializing"


def test_limit_of_a_project_and_sold_out_types_are_refused(
    client: hcloud.Client, hetzner: Hetzner
) -> None:
    """Both come at the moment of creation, as at Hetzner's."""
    kind = hetzner.project.find("server_types", "cx33")
    kind["locations"][0]["available"] = False
    codes = []
    for limit in (10, 0):
        hetzner.project.limits["servers"] = limit
        kind["locations"][0]["available"] = limit == 0
        with pytest.raises(hcloud.APIException) as refused:
            client.servers.create("web", CX33, UBUNTU, location=FSN1)
        codes.append(refused.value.code)

    assert codes == ["resource_unavailable", "resource_limit_exceeded"]


@pytest.mark.parametrize(
    "code", ["resource_unavailable", "locked", "protected", "server_error", "unavailable"]
)
def test_fault_comes_as_the_api_would_send_it(
    client: hcloud.Client, hetzner: Hetzner, code: str
) -> None:
    """With its code, and only as often as was asked for."""
    hetzner.fail("GET", "/servers", code)

    with pytest.raises(hcloud.APIException) as refused:
        client.servers.get_all()
    assert refused.value.code == code
    assert client.servers.get_all() == []


def test_spent_budget_is_told_with_the_time_it_is_whole_again(hetzner: Hetzner) -> None:
    """429 with the headers that every answer has."""
    hetzner.remaining = 1
    headers = {"Authorization": f"Bearer {hetzner_api.TOKEN}"}
    good, bad = (
        requests.get(f"{hetzner.url}/servers", headers=headers, timeout=60) for _ in range(2)
    )

    assert (good.status_code, bad.status_code) == (200, 429)
    assert bad.json()["error"]["code"] == "rate_limit_exceeded"
    assert bad.headers["RateLimit-Remaining"] == "0"
    assert int(bad.headers["RateLimit-Reset"]) == hetzner_api.RESET


def test_tokens_open_what_they_may(hetzner: Hetzner) -> None:
    """A wrong one nothing, a read-only one no change."""
    codes = []
    for token in ("wrong", hetzner_api.READ_ONLY_TOKEN):
        client = hcloud.Client(token, hetzner.url, timeout=60)
        with pytest.raises(hcloud.APIException) as refused:
            client.ssh_keys.create("key", "ssh-ed25519 AAAA")
        codes.append(refused.value.code)
        client._client._session.close()

    assert codes == ["unauthorized", "token_readonly"]


def test_types_prices_and_places_have_the_fields_the_client_reads(client: hcloud.Client) -> None:
    """Per-location offers included, as the API has had them since 2025."""
    kind = client.server_types.get_by_name("cx33")
    prices = client.request("GET", "/pricing")["pricing"]

    assert {each.location.name for each in kind.locations} == {"fsn1", "nbg1", "hel1"}
    assert (kind.cores, kind.memory, kind.architecture) == (4, 8.0, "x86")
    assert client.load_balancer_types.get_by_name("lb11").max_targets == 25
    assert prices["currency"] == "EUR"
    assert {"net", "gross"} == set(prices["volume"]["price_per_gb_month"])


def test_no_answer_at_all_is_an_error_of_the_connection(
    client: hcloud.Client, hetzner: Hetzner
) -> None:
    """Neither a dropped connection nor silence is taken for an answer."""
    hetzner.fail("GET", "/servers", "drop")
    hetzner.fail("GET", "/networks", "hang")

    with pytest.raises(requests.ConnectionError):
        client.servers.get_all()
    with pytest.raises(requests.Timeout):
        requests.get(
            f"{hetzner.url}/networks", headers={"Authorization": hetzner_api.TOKEN}, timeout=0.2
        )
