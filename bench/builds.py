"""`python -m bench.builds`: how soon a push becomes a Job, and how fairly tenants share the room.

A real API server and the real operator; the steps of builds are made up and take no time worth
measuring, so what is seen is the operator's.

push      from the webhook's delivery until the build's Job is there and let run, a question to a
          real git server over https between: median and p99
queue     1,000 builds that 20 tenants of all sizes want at once, 4 at a time: for the tenant that
          fares worst, how much later its last build came than if room had been divided evenly
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import logging
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from bex_operator import api
from bex_operator.api import names
from bex_operator.controllers import builds, children, metrics, webhooks
from bex_operator.git import remotes
from bex_operator.kube import caches, client, errors, kinds
from bex_operator.plan import build_outcomes
from bex_operator.plan import builds as plan
from bex_operator.plan import webhooks as hooks
from tests.support import api_server, apps_cluster, git_server, places
from tests.support import build_jobs as playing

HOST = "https://git.example.com"
WORKERS = 10
WAIT_SECONDS = 600.0


class Servers:
    """Git servers by the thousand, whose repositories never change."""

    async def refs(self, _: str, wanted: Collection[str], __: str = "") -> dict[str, str]:
        """Answer as `git.remotes` does."""
        return dict.fromkeys(wanted, "0" * 40)


@contextlib.asynccontextmanager
async def operating(
    kube: client.Client, servers: Servers | remotes.Remotes, **platform: Any
) -> AsyncIterator[tuple[apps_cluster.Bench, builds.Builder]]:
    """Run the operator for every namespace."""
    made = playing.platform(names.BUILD_NAMESPACE, **platform)
    writer = children.Writer(kube, metrics.Metrics())
    builder = builds.Builder(made, writer, servers)  # type: ignore[arg-type]
    async with apps_cluster.make_bench(kube, api.NAMESPACE, None, builder=builder) as bench:
        builder.wake_with(bench.controller.queue.add)
        tasks = [asyncio.create_task(each.run()) for each in (*builder.watches, builder)]
        tasks += [asyncio.create_task(bench.controller.work()) for _ in range(WORKERS)]
        try:
            for cache in builder.watches:
                await asyncio.wait_for(cache.synced.wait(), 60)
            yield bench, builder
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def app(namespace: str, name: str, repo: str) -> dict[str, Any]:
    """An App with a repository of its own."""
    return api.App(name=name, repo=repo, port=8080).manifest(namespace)


async def make_namespaces(kube: client.Client, *wanted: str) -> None:
    """Create namespaces."""
    for name in wanted:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await kube.create(manifest, field_manager="bench")


async def until(what: str, holds: Any) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not await holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"did not come about: {what}")
        await asyncio.sleep(0.05)


async def pushes(kube: client.Client, count: int, folder: Path) -> None:
    """Push to Apps that serve, one after the other, and time the Jobs."""
    apps = [f"web{number}" for number in range(20)]
    port = places.free_ports(1)[0]
    with git_server.serve(folder) as server:
        authority = server.authority.read_text()
        async with (
            remotes.Remotes(inner=["127.0.0.1/32"], authority=authority) as remote,
            playing.machines(kube, names.BUILD_NAMESPACE),
            operating(kube, remote, limit=1000, limit_each=1000) as (bench, builder),
            webhooks.serve(builder.receiver(bench.views.apps), "127.0.0.1", port),
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            uids = await _serving(kube, server, apps)
            taken = []
            for number in range(count):
                name = apps[number % len(apps)]
                commit = await asyncio.to_thread(server.commit, name, {"a": str(number)})
                taken.append(await _push(kube, session, name, uids[name], commit))
                await until("the build has ended", lambda job=taken[-1][1]: _has_ended(kube, job))
    seconds = sorted(each for each, _ in taken)
    p99 = seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))]
    median = statistics.median(seconds)
    print(f"push   {count} pushes: a Job after {median * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms")


async def _serving(
    kube: client.Client, server: git_server.GitServer, apps: list[str]
) -> dict[str, str]:
    """Make Apps and wait until each runs its first commit; return their UIDs."""
    uids = {}
    for name in apps:
        await asyncio.to_thread(server.commit, name, {"a": "first"})
        manifest = app(api.NAMESPACE, name, server.url_of(name))
        made = await kube.create(manifest, field_manager="bench")
        uids[name] = made["metadata"]["uid"]

    async def all_serve() -> bool:
        found = await kube.list(kinds.DEPLOYMENT, api.NAMESPACE)
        return len(found.items) == len(apps)

    await until("every App serves", all_serve)
    return uids


async def _push(
    kube: client.Client, session: aiohttp.ClientSession, name: str, uid: str, commit: str
) -> tuple[float, str]:
    body = b'{"ref": "refs/heads/main"}'
    secret = hooks.secret_of(b"k" * 32, uid)
    signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signed}"}
    listed = await kube.list(kinds.JOB, names.BUILD_NAMESPACE)
    began = time.monotonic()
    path = hooks.path_of(api.NAMESPACE, name)
    async with session.post(path, data=body, headers=headers) as answer:
        answer.raise_for_status()
    async for event in kube.watch(
        kinds.JOB,
        names.BUILD_NAMESPACE,
        resource_version=listed.resource_version,
        timeout_seconds=60,
    ):
        job = event.object
        noted = job["metadata"].get("annotations") or {}
        if noted.get(build_outcomes.COMMIT_ANNOTATION) == commit and not job["spec"]["suspend"]:
            return time.monotonic() - began, job["metadata"]["name"]
    raise SystemExit("a push made no Job")


async def _has_ended(kube: client.Client, job: str) -> bool:
    found = await kube.get(kinds.JOB, job, names.BUILD_NAMESPACE)
    return build_outcomes.read(found).state != "Running"


async def queue(kube: client.Client, count: int, tenants: int, seed: int) -> None:
    """Let tenants of all sizes want builds at once; see when each has had its last."""
    chance = random.Random(seed)  # noqa: S311 - to repeat a run with
    weights = [2.0**-each for each in range(tenants)]
    chosen = chance.choices(range(tenants), weights, k=count - tenants) + list(range(tenants))
    chance.shuffle(chosen)
    spaces = [f"tenant-{number}" for number in range(tenants)]
    await make_namespaces(kube, *spaces)
    ended: dict[str, dict[str, Any]] = {}

    def look(change: caches.Change) -> None:
        job = change.after
        if job and _tenant(job) in spaces and build_outcomes.read(job).state == "Succeeded":
            ended[job["metadata"]["name"]] = job

    async def all_ended() -> bool:
        return len(ended) == count

    # Watched: to list them again and again would be most of what is measured.
    jobs = caches.Cache(kube, caches.Scope(kinds.JOB, names.BUILD_NAMESPACE))
    jobs.listen(look)
    watching = asyncio.create_task(jobs.run())
    async with (
        playing.machines(kube, names.BUILD_NAMESPACE) as machines,
        operating(kube, Servers(), limit=4, limit_each=2),
    ):
        machines.open.clear()
        for number, tenant in enumerate(chosen):
            space, name = spaces[tenant], f"web{number}"
            manifest = app(space, name, f"{HOST}/{space}/{name}")
            await kube.create(manifest, field_manager="bench")
        print(f"queue  {count} Apps of {tenants} tenants made; seed {seed}", flush=True)
        began = time.monotonic()
        machines.open.set()
        await until("every build has ended", all_ended)
        seconds = time.monotonic() - began
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    order = sorted(
        (build_outcomes.read_started(each).created, _tenant(each)) for each in ended.values()
    )
    worst = _worst([tenant for _, tenant in order])
    print(f"       {count / seconds:.1f} builds/s; worst tenant: {worst:.2f} of its fair share")


def _tenant(job: dict[str, Any]) -> str:
    return str(job["metadata"]["labels"].get(plan.NAMESPACE_LABEL, ""))


def _worst(order: list[str]) -> float:
    """Compare where in *order* each tenant's last build stands with an even division of room.

    Counted in builds, not in seconds: the machine that this runs on is none of it.
    """
    last = {tenant: place for place, tenant in enumerate(order, start=1)}
    # In an even division every tenant has one build of each round until it has had its last.
    sizes = Counter(order)
    fair = {each: sum(min(size, sizes[each]) for size in sizes.values()) for each in sizes}
    return max(last[each] / fair[each] for each in sizes)


async def measure(asked: argparse.Namespace, server: api_server.ApiServer) -> None:
    """Run what was asked for."""
    async with client.Client.from_kubeconfig(server.kubeconfig) as kube:
        await kube.apply(api.crd(), field_manager="bench")
        await make_namespaces(kube, api.NAMESPACE, names.BUILD_NAMESPACE)

        async def is_served() -> bool:
            try:
                await kube.list(kinds.APP, api.NAMESPACE)
            except errors.NotFound:
                return False
            return True

        await until("the App kind is served", is_served)
        with tempfile.TemporaryDirectory(prefix="bex-bench-") as folder:
            await pushes(kube, asked.pushes, Path(folder))
        await queue(kube, asked.builds, asked.tenants, asked.seed)


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.builds", description="builds' start")
    parser.add_argument("--pushes", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--builds", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--tenants", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="to repeat a run")  # noqa: S311
    asked = parser.parse_args()
    # What the operator says of each App would be most of what is printed.
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet)
    with api_server.run_api_server() as server:
        asyncio.run(measure(asked, server))


if __name__ == "__main__":
    main()
