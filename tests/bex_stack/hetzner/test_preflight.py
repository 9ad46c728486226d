"""What stands in the way of an `up`: each rule broken in a made-up project, and all at once."""

from collections.abc import Callable

import pytest

from bex_stack.hetzner import cloud, preflight
from tests.bex_stack.hetzner import examples
from tests.support import hetzner_api
from tests.support.hetzner_api import Hetzner

TODAY = "2026-11-22"


def findings(
    hetzner: Hetzner, token: str = hetzner_api.TOKEN, **config: str
) -> list[preflight.Finding]:
    """Look at the made-up project and judge."""
    with cloud.Cloud(token, hetzner.url) as connection:
        return preflight.check(examples.wanted(**config), connection.look(), today=TODAY)


def server_type(hetzner: Hetzner, name: str, location: str) -> dict[str, object]:
    """Find what the project says of a type in a place."""
    kind = hetzner.project.find("server_types", name)
    (found,) = [each for each in kind["locations"] if each["name"] == location]
    return found  # the project's own, to be changed


def take_names(hetzner: Hetzner) -> None:
    """Let somebody else have the stack's names, and its key."""
    hetzner.seed("networks", name="bex-infra")
    hetzner.seed("load_balancers", name="bex-edge", labels={"bex-stack": "other"})
    hetzner.seed("ssh_keys", name="mine", public_key="ssh-ed25519 AAAA you")


def sell_out(hetzner: Hetzner) -> None:
    """Let one type be sold out and others be on their way out, or out."""
    server_type(hetzner, "cx33", "fsn1")["available"] = False
    for name, day in (("cx43", "2026-11-01"), ("cpx32", "2027-01-01")):
        for each in hetzner.project.find("server_types", name)["locations"]:
            each["deprecation"] = {
                "announced": "2026-10-01T00:00:00Z",
                "unavailable_after": f"{day}T00:00:00Z",
            }


def remove_type(hetzner: Hetzner) -> None:
    """Let Hetzner not have the infra server's type at all."""
    kind = hetzner.project.find("server_types", "cx23")
    del hetzner.project.things["server_types"][kind["id"]]


def fill_group(hetzner: Hetzner) -> None:
    """Put servers of somebody else into one of the stack's placement groups."""
    group = hetzner.seed(
        "placement_groups", name="bex-platform", labels={"caph-cluster-bex": "owned"}
    )
    for number in range(7):
        hetzner.seed("servers", name=f"other-{number}", placement_group=group["id"])


def two_images(hetzner: Hetzner) -> None:
    """Let two snapshots have the label."""
    examples.add_machine_image(hetzner)


def spend(hetzner: Hetzner) -> None:
    """Leave few requests."""
    hetzner.remaining = 100


CASES: dict[str, tuple[Callable[[Hetzner], None], dict[str, str], list[tuple[str, str]]]] = {
    "names and key": (
        take_names,
        {},
        [
            ("networks bex-infra", "taken"),
            ("load_balancers bex-edge", "taken"),
            ("bex:sshPublicKey", "already, as mine"),
        ],
    ),
    "types that go": (
        sell_out,
        {},
        [
            ("bex:controlPlaneServerType", "sold out"),
            ("bex:platformServerType", "sold out"),
            ("bex:workerServerType", "sold out"),
            ("bex:buildServerType", "no longer sold in fsn1 since 2026-11-01"),
            ("bex:fallbackServerType", "sold in nbg1 only until 2027-01-01"),
        ],
    ),
    "type that is not": (remove_type, {}, [("bex:infraServerType", "no such server type")]),
    "type not in this place": (
        lambda _hetzner: None,
        {"location": "ash", "fallbackLocation": ""},
        [
            ("bex:infraServerType", "no such server type in ash"),
            ("bex:controlPlaneServerType", "no such"),
            ("bex:platformServerType", "no such"),
            ("bex:workerServerType", "no such"),
            ("bex:buildServerType", "no such"),
        ],
    ),
    "group with strangers": (fill_group, {}, [("bex:platformMachines", "7 of others")]),
    "pool larger than a group": (
        lambda _hetzner: None,
        {"platformMachines": "12"},
        [("bex:platformMachines", "takes 10 servers")],
    ),
    "more servers than a load balancer takes": (
        lambda _hetzner: None,
        {"workersMax": "22"},
        [("bex:loadBalancerType", "this type takes 25")],
    ),
    "more servers than a network takes": (
        lambda _hetzner: None,
        {"workersMax": "95", "loadBalancerType": "lb31"},
        [("bex:workersMax", "at most 100 members")],
    ),
    "two images": (two_images, {}, [("bex:machineImage", "2 images")]),
    "few requests": (spend, {}, [("API requests", "needs about")]),
}


@pytest.mark.parametrize("case", CASES)
def test_rule_is_told_with_its_field_and_what_mends_it(hetzner: Hetzner, case: str) -> None:
    """Exactly these findings, each naming where, what and why."""
    change, config, expected = CASES[case]
    examples.add_machine_image(hetzner)
    change(hetzner)
    found = findings(hetzner, **config)

    assert [each.field for each in found] == [field for field, _ in expected]
    for each, (_, words) in zip(found, expected, strict=True):
        assert words in each.rule
        assert each.mend
        assert each.value


def test_project_that_is_fit_breaks_no_rule(hetzner: Hetzner) -> None:
    """Empty but for the snapshot that machines start from."""
    examples.add_machine_image(hetzner)

    assert findings(hetzner) == []


def test_everything_is_found_at_once(hetzner: Hetzner) -> None:
    """A person mends a whole list, not one thing after another."""
    for change in (fill_group, take_names, sell_out, remove_type, spend):
        change(hetzner)
    found = findings(hetzner, hetzner_api.READ_ONLY_TOKEN, platformMachines="12")

    assert len(found) == 13
    assert {"hcloud:token", "bex:machineImage", "API requests"} <= {each.field for each in found}


def test_second_up_finds_its_own_things_in_order(hetzner: Hetzner) -> None:
    """What carries the stack's labels is no obstacle, nor does it need requests again."""
    examples.add_machine_image(hetzner)
    wanted = examples.wanted()
    for each in wanted.names:
        ours = {"bex-stack": "hetzner"} if "infra" in each.name else {"caph-cluster-bex": "owned"}
        key = {"public_key": "ssh-ed25519 AAAA me"} if each.kind == "ssh_keys" else {}
        hetzner.seed(each.kind, name=each.name, labels=ours, **key)
    for number in range(7):
        hetzner.seed("servers", name=f"bex-{number}", labels={"caph-cluster-bex": "owned"})
    hetzner.remaining = 60

    assert findings(hetzner) == []


def test_token_that_may_only_read_is_told_and_makes_nothing(hetzner: Hetzner) -> None:
    """Asking for permission never creates anything, whatever the token may."""
    examples.add_machine_image(hetzner)
    (found,) = findings(hetzner, hetzner_api.READ_ONLY_TOKEN)
    findings(hetzner)

    assert (found.field, found.blocks) == ("hcloud:token", True)
    assert hetzner.project.things["ssh_keys"] == {}


def test_sold_out_type_does_not_stop_an_up(hetzner: Hetzner) -> None:
    """Hetzner's flags are not always right, and there is a pool to fall back to."""
    examples.add_machine_image(hetzner)
    sell_out(hetzner)

    blocking = [each.field for each in findings(hetzner) if each.blocks]
    assert blocking == ["bex:buildServerType"]


def test_image_that_is_only_described_so_is_told_apart(hetzner: Hetzner) -> None:
    """Snapshots have no names; the label is what machines are started by."""
    made = hetzner.snapshot(examples.IMAGE)
    (found,) = findings(hetzner)

    assert f"snapshot {made['id']} is described so, and lacks the label" in found.rule
    assert "hcloud image add-label" in found.mend


def test_counts_tell_what_a_limit_has_to_allow(hetzner: Hetzner) -> None:
    """The API does not tell limits; servers of others count, too."""
    hetzner.seed("servers", name="other")
    with cloud.Cloud(hetzner_api.TOKEN, hetzner.url) as connection:
        project = connection.look()

    counted = preflight.counts(examples.wanted(), project)["servers"]
    assert counted == {"there": 1, "ours": 0, "most": 20}
