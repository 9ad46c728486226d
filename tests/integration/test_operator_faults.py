"""Whatever breaks between the operator and the API server, the cluster comes to look the same.

A few plans of faults are tried with the suite, always the same. `make faults` chooses the tests
marked `thorough` too: every single fault at every place (or every BEX_FAULT_STRIDE-th), and as
many random plans as BEX_FAULT_PLANS says. A plan that fails is shrunk to the troubles that it
takes, and printed so that it can be run again.
"""

import itertools
import os
import secrets
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from bex_operator.kube import client
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import kube
from tests.support.trials import LIFE, ON_EVENT, ON_WRITE, Trouble, live

__all__ = ["kube"]

PLANS = int(os.environ.get("BEX_FAULT_PLANS", "300"))
STRIDE = int(os.environ.get("BEX_FAULT_STRIDE", "1"))
QUIET_SECONDS = float(os.environ.get("BEX_FAULT_QUIET_SECONDS", "0"))
MOST_WRITES = 40
MOST_EVENTS = 60
TROUBLES = strategies.one_of(
    strategies.builds(
        Trouble, strategies.sampled_from(sorted(ON_WRITE)), strategies.integers(1, MOST_WRITES)
    ),
    strategies.builds(
        Trouble, strategies.sampled_from(ON_EVENT), strategies.integers(1, MOST_EVENTS)
    ),
)
thorough = pytest.mark.thorough


class Ends(list[Any]):
    """How the cluster looks after each step when nothing goes wrong."""

    def __repr__(self) -> str:
        """Stay short: a plan that fails is printed with it."""
        return f"<the ends of {len(self)} steps>"


@pytest.fixture(scope="session")
def ends() -> Ends:
    """What every life must come to; filled by the first."""
    return Ends()


async def run(
    server: ApiServer, kube: client.Client, ends: Ends, *plan: Trouble, leaders: int = 1
) -> None:
    """Live a life under the plan in a namespace of its own."""
    if not ends:
        ends += await live(server, kube, await new_namespace(kube), ())
    namespace = await new_namespace(kube)
    await live(server, kube, namespace, plan, ends, leaders=leaders, quiet_seconds=QUIET_SECONDS)


async def new_namespace(kube: client.Client) -> str:
    """A namespace that nothing else is in."""
    name = f"faults-{secrets.token_hex(4)}"
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await kube.create(made, field_manager="test")
    return name


async def test_life_without_faults_ends_with_nothing(
    api_server: ApiServer, kube: client.Client, ends: Ends
) -> None:
    """Every step leaves its mark, and the last one nothing at all."""
    await run(api_server, kube, ends)

    assert len(ends) == len(LIFE)
    assert all(one != other for one, other in itertools.pairwise(ends))
    assert ends[-1] == {}


async def test_death_after_every_write(
    api_server: ApiServer, kube: client.Client, ends: Ends
) -> None:
    """Each write happens and its answer is never read; the successor of each dead one goes on."""
    await run(api_server, kube, ends, *(Trouble("crash", n) for n in range(1, MOST_WRITES)))


async def test_every_write_is_refused_once(
    api_server: ApiServer, kube: client.Client, ends: Ends
) -> None:
    """Each kind of refusal in turn, before and after the server did what was asked."""
    refusals = sorted(set(ON_WRITE) - {"crash"})
    plan = (Trouble(refusals[n % len(refusals)], n) for n in range(1, MOST_WRITES, 2))
    await run(api_server, kube, ends, *plan)


@pytest.mark.parametrize(
    "kind", [pytest.param(each, marks=[thorough] * (each == "silence")) for each in ON_EVENT]
)
async def test_watches_break_again_and_again(
    api_server: ApiServer, kube: client.Client, ends: Ends, kind: str
) -> None:
    """Every fourth event; what is lost shows when everything is asked for anew."""
    await run(api_server, kube, ends, *(Trouble(kind, n) for n in range(1, MOST_EVENTS, 4)))


async def test_two_leaders_are_harmless(
    api_server: ApiServer, kube: client.Client, ends: Ends
) -> None:
    """Both act at once all the time, and one loses its answers now and then."""
    await run(api_server, kube, ends, Trouble("late reset", 3), Trouble("swap", 9), leaders=2)


@thorough
@hypothesis.settings(
    max_examples=PLANS,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(
    plan=strategies.lists(TROUBLES, max_size=8, unique=True), leaders=strategies.integers(1, 2)
)
async def test_any_plan(
    api_server: ApiServer,
    kube: client.Client,
    ends: Ends,
    plan: list[Trouble],
    leaders: int,
) -> None:
    """Random troubles together; `--hypothesis-seed` runs the same plans again."""
    await run(api_server, kube, ends, *plan, leaders=leaders)


def singles() -> Iterator[Trouble]:
    """Every single trouble at every place."""
    for number in range(1, MOST_WRITES):
        yield from (Trouble(kind, number) for kind in ON_WRITE)
    for number in range(1, MOST_EVENTS):
        yield from (Trouble(kind, number) for kind in ON_EVENT)


@thorough
@pytest.mark.parametrize("trouble", tuple(singles())[::STRIDE], ids=str)
async def test_each_trouble_alone(
    api_server: ApiServer, kube: client.Client, ends: Ends, trouble: Trouble
) -> None:
    """Nothing else hides what one lost event does."""
    await run(api_server, kube, ends, trouble)
