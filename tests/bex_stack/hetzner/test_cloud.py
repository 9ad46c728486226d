"""The seam to Hetzner: its errors become ours, and none has the token in it."""

import traceback

import pytest

from bex_stack.hetzner import access, cloud, observed
from tests.support import hetzner_api
from tests.support.hetzner_api import Hetzner


def connect(hetzner: Hetzner, token: str = hetzner_api.TOKEN) -> cloud.Cloud:
    """Connect to the made-up project."""
    return access.connect(token, {access.ENDPOINT_VARIABLE: hetzner.url})


def everything_said(refused: pytest.ExceptionInfo[BaseException]) -> str:
    """Return all of a traceback, chained errors and their arguments included."""
    return "".join(traceback.format_exception(refused.value)) + repr(refused.value)


@pytest.mark.parametrize("code", ["server_error", "unavailable", "locked", "drop"])
def test_error_of_the_api_becomes_ours_without_the_token(hetzner: Hetzner, code: str) -> None:
    """What was asked for and why it failed; never who asked."""
    hetzner.fail("GET", "/servers", code, times=10)

    with connect(hetzner) as connection, pytest.raises(cloud.CloudError) as refused:
        connection.things()
    assert "Hetzner, servers: " in str(refused.value)
    assert hetzner_api.TOKEN not in everything_said(refused)


def test_unknown_token_is_told_as_such(hetzner: Hetzner) -> None:
    """It is the first thing that shows, and the token is not in the message."""
    with connect(hetzner, "secret-token") as connection, pytest.raises(cloud.BadToken) as refused:
        connection.look()

    assert "hcloud:token: Hetzner does not know it" in str(refused.value)
    assert "secret-token" not in everything_said(refused)


def test_no_token_is_told_with_what_mends_it() -> None:
    """Before anything is asked."""
    with pytest.raises(cloud.BadToken, match="pulumi config set --secret hcloud:token"):
        access.connect("")


def test_spent_budget_is_told_at_once(hetzner: Hetzner) -> None:
    """Nothing is asked again and again while there is nothing left to ask with."""
    hetzner.remaining = 0

    with connect(hetzner) as connection, pytest.raises(cloud.CloudError, match="0 of 3600"):
        connection.look()
    assert len(hetzner.requests) == 1


def test_one_look_costs_few_requests(hetzner: Hetzner) -> None:
    """A pre-flight must not be what spends the budget."""
    with connect(hetzner) as connection:
        budget = connection.look().budget

    assert budget == observed.Budget(3600, 3599, hetzner_api.RESET)
    assert len(hetzner.requests) <= 20


def test_protection_is_lifted_once_its_action_has_ended(hetzner: Hetzner) -> None:
    """And a failure of the action is an error, not a shrug."""
    made = hetzner.seed("load_balancers", name="bex-edge", labels={"bex-stack": "hetzner"})
    made["protection"]["delete"] = True
    with connect(hetzner) as connection:
        (thing,) = connection.things(("load_balancers",))
        hetzner.project.failing["change_protection"] = "service_error"
        with pytest.raises(cloud.CloudError, match="protection of load balancer bex-edge"):
            connection.unprotect(thing)
        assert made["protection"]["delete"]
        connection.unprotect(thing)

    assert not made["protection"]["delete"]
