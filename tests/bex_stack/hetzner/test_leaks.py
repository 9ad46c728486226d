"""What of a stack is left at Hetzner: fifty things of every kind, each told by name."""

import pytest

from bex_stack.hetzner import cloud, leaks
from tests.bex_stack.hetzner import examples
from tests.support import hetzner_api
from tests.support.hetzner_api import Hetzner

DAY_0 = {"bex-stack": "hetzner"}
CAPH = {"caph-cluster-bex": "owned"}
UID = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHERS = {"bex-stack": "other"}


def leave_fifty(hetzner: Hetzner) -> set[tuple[str, str]]:
    """Leave what day 0, Cluster API, the cloud's controller and the CSI driver make."""
    left: list[tuple[str, str, dict[str, str]]] = [
        ("ssh_keys", "bex", DAY_0),
        ("networks", "bex-infra", DAY_0),
        ("networks", "bex", CAPH),
        ("firewalls", "bex-infra", DAY_0),
        ("firewalls", "bex-machines", DAY_0),
        ("primary_ips", "bex-infra", DAY_0),
        ("placement_groups", "bex-infra-0", DAY_0),
        ("servers", "bex-infra-0", DAY_0),
        ("load_balancers", "bex-edge", DAY_0),
        ("load_balancers", "bex-kube-apiserver-x7k2p", CAPH),
        ("floating_ips", "somewhere", DAY_0),
        ("certificates", "uploaded", DAY_0),
        ("certificates", "ccm-managed-certificate-1", {leaks.SERVICE_LABEL: UID}),
        ("load_balancers", "a0f8fad5bd9cb469fa16570867728950", {leaks.SERVICE_LABEL: UID}),
        # An interrupted run: names without a label yet.
        ("servers", "bex-tenant-0-abcde-fghij", {}),
        ("load_balancers", "bex-kube-apiserver-q9w8e", {}),
        ("placement_groups", "bex-platform", {}),
    ]
    left += [("servers", f"bex-control-plane-{number}xxx", CAPH) for number in range(3)]
    left += [("servers", f"bex-platform-abcde-{number}xxxx", CAPH) for number in range(9)]
    left += [
        ("volumes", f"pvc-{number:08}-d9cb-469f-a165-70867728950e", {"managed-by": "csi-driver"})
        for number in range(10)
    ]
    left += [
        ("volumes", f"pvc-{number:08}-aaaa-469f-a165-70867728950e", DAY_0) for number in range(7)
    ]
    left += [("volumes", f"pvc-{number:08}-bbbb-469f-a165-70867728950e", {}) for number in range(4)]
    for kind, name, labels in left:
        more = {"type": "managed"} if kind == "certificates" else {}
        hetzner.seed(kind, name=name, labels=labels, **more)
    return {(kind, name) for kind, name, _ in left}


def audit(hetzner: Hetzner) -> list[leaks.Leftover]:
    """Audit the made-up project."""
    with cloud.Cloud(hetzner_api.TOKEN, hetzner.url) as connection:
        return leaks.audit(examples.wanted(), connection.things())


def test_each_of_fifty_leftovers_is_named(hetzner: Hetzner) -> None:
    """Every kind, by label and by the names that controllers give; and how to remove it."""
    left = leave_fifty(hetzner)
    found = audit(hetzner)

    assert len(left) == 50
    assert {(each.thing.kind, each.thing.name) for each in found} == left
    assert len(found) == 50
    assert all(each.is_certain for each in found)
    assert all(f" delete {each.thing.id}" in each.command for each in found)


def test_nothing_is_left_of_an_empty_project(hetzner: Hetzner) -> None:
    """The machine image is a person's own, and stays."""
    examples.add_machine_image(hetzner)

    assert audit(hetzner) == []


def test_things_of_other_stacks_and_clusters_are_not_ours(hetzner: Hetzner) -> None:
    """Whatever they are called, and even with the labels that all controllers give."""
    hetzner.seed("servers", name="bex-infra-0", labels=OTHERS)
    hetzner.seed("networks", name="bex", labels={"caph-cluster-bexter": "owned"})
    hetzner.seed("servers", name="bexter-platform-abcde-fghij")
    hetzner.seed("volumes", name="pvc-1", labels={"managed-by": "csi-driver", **OTHERS})

    assert audit(hetzner) == []


def test_controllers_things_are_uncertain_where_other_clusters_have_servers(
    hetzner: Hetzner,
) -> None:
    """Their labels do not tell whose cluster made them; alone in a project it can only be ours."""
    hetzner.seed("volumes", name="pvc-1", labels={"managed-by": "csi-driver"})
    alone = audit(hetzner)
    hetzner.seed("servers", name="other")
    shared = audit(hetzner)

    assert [each.is_certain for each in (*alone, *shared)] == [True, False]
    assert "of the claim ?" in shared[0].because


def test_protected_leftover_is_told_with_the_way_to_lift_it(hetzner: Hetzner) -> None:
    """The edge's load balancer is protected, on purpose."""
    made = hetzner.seed("load_balancers", name="bex-edge", labels=DAY_0)
    made["protection"]["delete"] = True
    (found,) = audit(hetzner)

    assert found.command == (
        f"hcloud load-balancer disable-protection {made['id']} delete && "
        f"hcloud load-balancer delete {made['id']}"
    )


def test_audit_goes_on_after_a_request_too_many(hetzner: Hetzner) -> None:
    """Half a list would be taken for a whole one; the client asks again."""
    left = leave_fifty(hetzner)
    hetzner.fail("GET", "/volumes", "rate_limit_exceeded")

    assert {(each.thing.kind, each.thing.name) for each in audit(hetzner)} == left


def test_audit_that_cannot_see_everything_fails(hetzner: Hetzner) -> None:
    """It never says that nothing is left of what it could not list."""
    hetzner.fail("GET", "/certificates", "server_error", times=9)

    with pytest.raises(cloud.CloudError, match="Hetzner, certificates"):
        audit(hetzner)


@pytest.mark.parametrize("kind", sorted(leaks.COMMANDS))
def test_every_kind_is_found_by_the_stack_label(hetzner: Hetzner, kind: str) -> None:
    """No kind that a project holds is forgotten."""
    if kind == "images":
        hetzner.snapshot("mine", **DAY_0)
    else:
        more = {"type": "managed"} if kind == "certificates" else {}
        hetzner.seed(kind, name="mine", labels=DAY_0, **more)
    (found,) = audit(hetzner)

    assert (found.thing.kind, found.because) == (kind, "label bex-stack=hetzner")
