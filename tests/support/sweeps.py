"""Many trials side by side against one server: one alone spends its time waiting."""

import asyncio
import os
import random
import secrets
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from bex_operator.kube import client
from tests.support.api_server import ApiServer
from tests.support.lives import LIVES
from tests.support.saboteurs import ON_EVENT, ON_READ, ON_WRITE, Trouble
from tests.support.trials import Lived, Trial, live

AT_ONCE = 12
"""A life takes half a second of one processor, and several to wait for."""
MOST_SHRINKING = 8
QUIET_SECONDS = float(os.environ.get("BEX_FAULT_QUIET_SECONDS", "0"))
WRITES = {"life": 32, "full life": 48}
EVENTS = {"life": 34, "full life": 58}
"""As many as a life has, and a few more: how many there are depends on the moment and the load."""
READS = {"life": 40, "full life": 60}
"""Of the questions the first ones: how many there are depends on how long everything takes."""
PLACES = ((WRITES, ON_WRITE), (EVENTS, ON_EVENT), (READS, ON_READ))


@dataclass
class Sweep:
    """The server that trials run against, and what lives come to when nothing goes wrong."""

    server: ApiServer
    kube: client.Client
    quiet_seconds: float = 0.0
    references: dict[str, Lived] = field(default_factory=dict)

    async def reference(self, life: str) -> Lived:
        """Live without faults, once; all lives at once, so that none has to wait for another."""
        if not self.references:
            lived = await asyncio.gather(*map(self._without_faults, LIVES))
            self.references.update(zip(LIVES, lived, strict=True))
        return self.references[life]

    async def _without_faults(self, life: str) -> Lived:
        return await live(self.server, self.kube, await self._namespace(), Trial(life=life))

    async def run(self, trial: Trial) -> None:
        """Live a life under its plan in a namespace of its own."""
        ends, where = (await self.reference(trial.life)).ends, await self._namespace()
        try:
            await live(self.server, self.kube, where, trial, ends, quiet_seconds=self.quiet_seconds)
        except BaseExceptionGroup as group:
            # What an operator died of.
            raise AssertionError(f"{trial}: {group.exceptions[0]!r}") from group

    async def run_all(self, trials: Iterable[Trial], *, at_once: int = AT_ONCE) -> None:
        """Run trials side by side; fail with all that failed, each with the least that it takes."""
        given = tuple(trials)
        await self.reference(given[0].life)
        turns = asyncio.Semaphore(at_once)

        async def found(trial: Trial) -> str | None:
            async with turns:
                if failure := await self._failure(trial):
                    failure = await self._told(trial, failure)
                    # The rest of the sweep takes a while.
                    sys.stderr.write(f"\n{failure}\n")
                return failure

        failures = [each for each in await asyncio.gather(*map(found, given)) if each]
        assert not failures, f"{len(failures)} of {len(given)} trials:\n" + "\n".join(failures)

    async def _told(self, trial: Trial, failure: str) -> str:
        """Say of a trial that failed what to live again, shrunk."""
        least = trial
        for trouble in trial.plan[: MOST_SHRINKING if len(trial.plan) > 1 else 0]:
            less = replace(least, plan=tuple(each for each in least.plan if each != trouble))
            if found := await self._failure(less):
                least, failure = less, found
        return f"  {least}\n    {failure}" + (
            f"\n    shrunk from {trial}" if least != trial else ""
        )

    async def _failure(self, trial: Trial) -> str | None:
        try:
            await self.run(trial)
        except AssertionError as exc:
            return str(exc)
        return None

    async def _namespace(self) -> str:
        name = f"faults-{secrets.token_hex(4)}"
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.kube.create(made, field_manager="test")
        return name


@pytest.fixture(scope="session")
async def sweep(api_server: ApiServer, kube: client.Client) -> Sweep:
    """One server, and one life without faults of each kind, for all trials of the session."""
    return Sweep(api_server, kube, QUIET_SECONDS)


def drawn(seed: int, count: int) -> Iterator[Trial]:
    """Draw plans of up to eight troubles; the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - it has to come again
    places = {kind: where for where, kinds in PLACES for kind in kinds}
    for _ in range(count):
        life, leaders = chance.choice(sorted(LIVES)), chance.choice((1, 1, 2))
        kinds = chance.choices(sorted(places), k=chance.randint(2, 8))
        plan = {Trouble(kind, chance.randint(1, places[kind][life])) for kind in kinds}
        yield Trial(tuple(sorted(plan, key=str)), leaders, life)


def singles(kind: str, life: str, stride: int = 1) -> Iterator[Trial]:
    """A trouble alone, at every place of a life."""
    places = next(each for each, kinds in PLACES if kind in kinds)
    for number in range(1, places[life] + 1, stride):
        yield Trial((Trouble(kind, number),), life=life)
