"""What is released of commits that come faster than they are built, on a real API server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bex_operator.api import names
from bex_operator.kube import client, kinds
from bex_operator.plan import build_queue
from tests.support import build_jobs as playing
from tests.support.apps_cluster import kube, namespace, until
from tests.support.build_shop import Shop, shop

__all__ = ["kube", "namespace"]

A, B, C, D = (letter * 40 for letter in "abcd")


@dataclass
class Rush:
    """An App whose builds end when the test says so."""

    shop: Shop
    machines: playing.Machines

    async def push(self, commit: str) -> None:
        """Push a commit, and wait until its build has begun or waits."""
        self.machines.gates.setdefault(commit, asyncio.Event())
        self.shop.repository.head = commit

        async def is_seen() -> bool:
            waits = build_queue.reported(await self.shop.bench.get(kinds.APP)).waiting
            is_due = waits is not None and waits.commit == commit
            return is_due or any(each.commit == commit for each in await self.shop.builds())

        await until(is_seen, f"{commit[:1]} is seen")

    async def runs(self, commit: str) -> None:
        """Let the build of a commit end, and wait until the App runs what came of it."""
        self.machines.gates[commit].set()

        async def is_image() -> bool:
            image = await self.shop.image()
            done = {each.commit: each.image for each in await self.shop.builds()}
            return image is not None and image == done.get(commit)

        await until(is_image, f"{commit[:1]} runs")

    async def counts(self, job: str) -> None:
        """Wait until the App's status says that this build is released when it ends well."""

        async def is_told() -> bool:
            return build_queue.reported(await self.shop.bench.get(kinds.APP)).begun == job

        await until(is_told, f"{job} counts")

    async def releases(self) -> list[str]:
        """The first letters of the commits that were released, in order."""
        kube, namespace = self.shop.bench.kube, self.shop.bench.namespace
        found = (await kube.list(kinds.CONTROLLER_REVISION, namespace)).items
        in_order = sorted(found, key=lambda each: each["revision"])
        return [each["data"]["made"]["commit"][:1] for each in in_order]


@contextlib.asynccontextmanager
async def rush(kube: client.Client, namespace: str) -> AsyncIterator[Rush]:
    """An App whose first commit is being built."""
    async with (
        playing.machines(kube, namespace) as machines,
        shop(kube, namespace, playing.Repository()) as made,
    ):
        made.repository.head = A
        machines.gates[A] = asyncio.Event()
        await made.create()
        rushed = Rush(made, machines)
        await rushed.push(A)
        yield rushed


async def test_commit_is_released_although_a_newer_one_waits(
    kube: client.Client, namespace: str
) -> None:
    """Under pushes that come faster than builds end, every build that ends well is released."""
    async with rush(kube, namespace) as rushed:
        await rushed.push(B)
        await rushed.runs(A)
        await rushed.push(C)
        await rushed.push(D)
        await rushed.runs(B)
        phase = (await rushed.shop.bench.get(kinds.APP))["status"]["phase"]
        await rushed.runs(D)
        built = [each.commit[:1] for each in await rushed.shop.builds()]

        assert await rushed.releases() == ["a", "b", "d"]
    assert phase == "Building"
    assert built == ["a", "b", "d"]


async def test_commit_that_the_branch_went_back_from_is_not_released(
    kube: client.Client, namespace: str
) -> None:
    """Its build ends well, and so does that of the next push; the first one stays till then."""
    async with rush(kube, namespace) as rushed:
        await rushed.runs(A)
        await rushed.push(B)
        first, second = (each.job for each in await rushed.shop.builds())
        await rushed.counts(second)
        rushed.shop.repository.head = A
        await rushed.counts(first)
        await rushed.push(C)
        rushed.machines.gates[B].set()

        async def has_begun() -> bool:
            return [each.state for each in await rushed.shop.builds()][1:] == [
                "Succeeded",
                "Running",
            ]

        await until(has_begun, "the next one is built")
        await rushed.shop.bench.settle_caches()
        assert await rushed.releases() == ["a"]
        await rushed.runs(C)

        assert await rushed.releases() == ["a", "c"]


async def test_rollback_stays_until_a_build_ends_well(kube: client.Client, namespace: str) -> None:
    """What was released before it does not come back while newer commits are built."""
    async with rush(kube, namespace) as rushed:
        await rushed.runs(A)
        await rushed.push(B)
        await rushed.runs(B)
        await rushed.push(C)
        body = {"metadata": {"annotations": {names.ROLLBACK_ANNOTATION: "rev-1"}}}
        await kube.patch(kinds.APP, "web", namespace, body)

        async def is_back() -> bool:
            return await rushed.releases() == ["a", "b", "a"]

        await until(is_back, "it is rolled back")
        await rushed.push(D)
        await rushed.shop.bench.settle_caches()
        assert await rushed.releases() == ["a", "b", "a"]
        await rushed.runs(C)
        await rushed.runs(D)

        assert await rushed.releases() == ["a", "b", "a", "c", "d"]
