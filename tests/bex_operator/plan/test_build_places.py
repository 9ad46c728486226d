"""Where builds may run: on machines that give pods users of their own, and nowhere else."""

from typing import Any

import pytest

from bex_operator.plan import build_places

POOL = {"bex.co/pool": "build"}


def node(name: str, *, users: bool | None, labels: dict[str, str] | None = None) -> dict[str, Any]:
    """A machine; *users*: what its kubelet tells of its runtime, None: nothing."""
    features = [] if users is None else [{"name": "", "features": {"userNamespaces": users}}]
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "status": {"runtimeHandlers": features},
    }


@pytest.mark.parametrize("users", [False, None], ids=["not there", "not told"])
def test_machines_without_user_namespaces_refuse_builds_with_the_reason(users: bool | None) -> None:
    """It names machines and says what they lack."""
    found = build_places.refusal([node("a", users=users), node("b", users=users)], {})

    assert found is not None
    assert found.reason == "UserNamespacesUnsupported"
    assert "no machine they may run on has them: a, b;" in found.message


def test_one_machine_that_can_is_enough() -> None:
    """The kubelets of the others refuse the pod."""
    assert build_places.refusal([node("a", users=False), node("b", users=True)], {}) is None


def test_only_machines_of_the_pool_count() -> None:
    """Builds cannot go to the others, whatever those can do."""
    others, pool = node("a", users=True), node("b", users=False, labels=POOL)

    assert build_places.refusal([others, pool], POOL) is not None


def test_pool_that_is_made_when_builds_wait_refuses_nothing() -> None:
    """Nobody knows what its machines can do before there is one."""
    assert build_places.refusal([node("a", users=False)], POOL) is None
