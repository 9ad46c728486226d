"""An operator that builds, at work on a real API server; what builds are made of is played."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from bex_operator.controllers import builds, children, metrics, registry_care
from bex_operator.kube import client, kinds
from bex_operator.plan import build_outcomes
from tests.support import build_jobs as playing
from tests.support.apps_cluster import Bench, make_bench


@dataclass
class Shop:
    """An operator that builds, and the machines that it builds on."""

    bench: Bench
    builder: builds.Builder
    repository: playing.Repository

    async def create(self, name: str = "web", **spec: Any) -> None:
        """Create an App of the repository."""
        given = {"repo": playing.REPO, "image": None, **spec}
        await self.bench.create(name, **given)

    async def jobs(self) -> list[dict[str, Any]]:
        """Every Job of a build."""
        found = await self.bench.kube.list(kinds.JOB, self.bench.namespace)
        return sorted(found.items, key=lambda each: build_outcomes.read_started(each).created)

    async def image(self, name: str = "web") -> str | None:
        """The image that the App runs."""
        found = await self.bench.find(kinds.DEPLOYMENT, name)
        return found["spec"]["template"]["spec"]["containers"][0]["image"] if found else None

    async def builds(self) -> list[build_outcomes.Build]:
        """What became of every build, oldest first."""
        return [build_outcomes.read(each) for each in await self.jobs()]


@contextlib.asynccontextmanager
async def shop(
    own: client.Client,
    namespace: str,
    repository: playing.Repository,
    *,
    keeper: registry_care.Keeper | None = None,
    **platform: Any,
) -> AsyncIterator[Shop]:
    """An operator at work in one namespace, which is where it builds, too."""
    given = {"poll_seconds": 0.05, **platform}
    builder = builds.Builder(
        playing.platform(namespace, **given),
        children.Writer(own, metrics.Metrics()),
        repository,  # type: ignore[arg-type]
    )
    builder.ask_room(keeper)
    async with make_bench(own, namespace, namespace, builder=builder) as bench:
        builder.wake_with(bench.controller.queue.add)
        tasks = [asyncio.create_task(each.run()) for each in (*builder.watches, builder)]
        try:
            for cache in builder.watches:
                await asyncio.wait_for(cache.synced.wait(), 60)
            tasks += [asyncio.create_task(bench.controller.work()) for _ in range(4)]
            bench.controller.enqueue_all()
            yield Shop(bench, builder, repository)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
