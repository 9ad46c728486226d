"""Whatever breaks between the operator and the API server, the cluster comes to look the same.

A few plans of faults are tried with the suite, always the same. `make faults` chooses the tests
marked `thorough` too: every single fault at every place (or every BEX_FAULT_STRIDE-th), and as
many random plans as BEX_FAULT_PLANS says, from BEX_FAULT_SEED. A plan that fails is shrunk to the
troubles that it takes, and printed; BEX_FAULT_TRIAL="life, 1 leaders: crash 7" lives it again.
"""

import itertools
import os

import pytest

from tests.support import sweeps
from tests.support.apps_cluster import kube
from tests.support.lives import LIVES
from tests.support.saboteurs import ON_EVENT, ON_READ, ON_WRITE, Trouble
from tests.support.sweeps import sweep
from tests.support.trials import Trial

__all__ = ["kube", "sweep"]

PLANS = int(os.environ.get("BEX_FAULT_PLANS", "300"))
SEED = int(os.environ.get("BEX_FAULT_SEED", "1"))
STRIDE = int(os.environ.get("BEX_FAULT_STRIDE", "1"))
TRIAL = os.environ.get("BEX_FAULT_TRIAL", "")
BATCH = 50
KINDS = (*ON_WRITE, *ON_EVENT, *ON_READ)
thorough = pytest.mark.thorough
each_life = pytest.mark.parametrize("life", LIVES)


@each_life
async def test_life_without_faults_ends_with_nothing(sweep: sweeps.Sweep, life: str) -> None:
    """Every step leaves its mark, and the last one nothing at all."""
    lived = await sweep.reference(life)

    assert all(one != other for one, other in itertools.pairwise(lived.ends))
    assert lived.ends[-1] == {}
    assert lived.writes <= sweeps.WRITES[life]
    assert lived.events <= sweeps.EVENTS[life]
    await sweep.run(Trial(life=life))


@each_life
async def test_death_after_every_write(sweep: sweeps.Sweep, life: str) -> None:
    """Each write happens and its answer is never read; the successor of each dead one goes on."""
    places = range(1, 2 * sweeps.WRITES[life])
    await sweep.run(Trial(tuple(Trouble("crash", n) for n in places), life=life))


@each_life
async def test_every_write_is_refused_once(sweep: sweeps.Sweep, life: str) -> None:
    """Each kind of refusal in turn, before and after the server did what was asked."""
    refusals = sorted(set(ON_WRITE) - {"crash", "held"})
    places = range(1, 2 * sweeps.WRITES[life], 2)
    plan = (Trouble(refusals[n // 2 % len(refusals)], n) for n in places)
    await sweep.run(Trial(tuple(plan), life=life))


async def test_watches_break_again_and_again(sweep: sweeps.Sweep) -> None:
    """Every fourth event; what is lost shows when everything is asked for anew."""
    await sweep.run_all(
        Trial(tuple(Trouble(kind, n) for n in range(1, sweeps.EVENTS[life], 4)), life=life)
        for kind in ON_EVENT
        for life in LIVES
        if kind != "silence"
    )


async def test_questions_are_not_answered(sweep: sweeps.Sweep) -> None:
    """Every third list, watch or read; 410 is the answer to some."""
    await sweep.run_all(
        Trial(tuple(Trouble(kind, n) for n in range(1, sweeps.READS[life], 3)), life=life)
        for kind in ON_READ
        for life in LIVES
    )


async def test_two_leaders_are_harmless(sweep: sweeps.Sweep) -> None:
    """Both act at once all the time, and one loses its answers now and then."""
    plan = Trouble("late reset", 3), Trouble("swap", 9)
    await sweep.run_all(Trial(plan, leaders=2, life=life) for life in LIVES)


async def test_write_of_a_former_leader_that_comes_late_is_harmless(sweep: sweeps.Sweep) -> None:
    """It was sent before its sender died, and arrives when others have gone on without it."""
    await sweep.run_all(each for life in LIVES for each in sweeps.singles("held", life, 4))


@thorough
@each_life
@pytest.mark.parametrize("kind", KINDS)
async def test_each_trouble_alone(sweep: sweeps.Sweep, kind: str, life: str) -> None:
    """Nothing else hides what one lost event does."""
    await sweep.run_all(sweeps.singles(kind, life, STRIDE))


@thorough
@pytest.mark.parametrize("batch", range(1 if TRIAL else -(-PLANS // BATCH)))
async def test_any_plan(sweep: sweeps.Sweep, batch: int) -> None:
    """Random troubles together, beside another leader too; or the one that is asked for."""
    count = min(BATCH, PLANS - batch * BATCH)
    await sweep.run_all([Trial.read(TRIAL)] if TRIAL else sweeps.drawn(SEED + batch, count))
