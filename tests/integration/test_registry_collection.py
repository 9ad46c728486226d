"""Letting images go from the running registry while others are pushed to it."""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bex_operator.api import images
from bex_operator.controllers import metrics, registry_care
from bex_operator.kube import client
from bex_operator.plan import collection
from bex_operator.registry import care, errors
from tests.support import oci
from tests.support.apps_cluster import kube, namespace
from tests.support.image_registry import Registry, registry
from tests.support.registry_life import World

__all__ = ["kube", "namespace", "registry"]

PUSHERS = 4
KINDS = {"push", "deploy", "roll_back", "delete"}
ACTIONS = int(os.environ.get("BEX_REGISTRY_ACTIONS", "120"))
SEEDS = [int(each) for each in os.environ.get("BEX_REGISTRY_SEEDS", "1").split()]


@pytest.fixture
async def pusher(registry: Registry) -> AsyncIterator[oci.Client]:
    """A client of an empty registry."""
    async with oci.Client(registry.url) as made:
        yield made


def blob_file(registry: Registry, digest: str) -> Path:
    """Where a blob lies."""
    name = digest.removeprefix("sha256:")
    return registry.folder / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"


def age(registry: Registry) -> None:
    """Let hours pass."""
    old = time.time() - 2 * images.GRACE_SECONDS
    for file in (registry.folder / "docker/registry/v2/blobs").glob("*/*/*/data"):
        os.utime(file, (old, old))


@contextlib.contextmanager
def full_at(registry: Registry, size: int) -> Iterator[None]:
    """Give the registry a disk of that size."""
    disk = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(registry.folder)]
    subprocess.run(disk, check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(registry.folder)], check=True, timeout=30)


async def test_image_goes_with_the_layers_that_nothing_else_has(
    registry: Registry, pusher: oci.Client
) -> None:
    """Shared layers stay; the report says what came free, and a dry run says it beforehand."""
    keeper = care.Care(registry.url)
    gone = await pusher.push_image("builds/a/image", "1", [b"shared", b"x" * 10_000])
    kept = await pusher.push_image("builds/b/image", "1", [b"shared", b"two"])
    age(registry)
    going = [each for each in await keeper.inventory() if each.digest == gone]
    before = await keeper.usage()
    foreseen = await keeper.collect(going, dry_run=True)
    assert await pusher.is_whole("builds/a/image", gone)
    done = await keeper.collect(going)

    assert (done.manifests, done.blobs, done.freed) == (1, 2, foreseen.freed)
    assert before.used - done.usage.used >= done.freed > 10_000
    assert await pusher.is_whole("builds/b/image", kept)
    assert (await pusher.ask("HEAD", "/v2/builds/a/image/manifests/1")).status == 404


async def test_layer_that_a_push_relies_on_stays(registry: Registry, pusher: oci.Client) -> None:
    """Nothing names it yet, but whoever pushes was told that it is there."""
    digest = await pusher.push_blob("app", b"layer")
    age(registry)
    assert (await pusher.ask("HEAD", f"/v2/app/blobs/{digest}")).status == 200
    await care.Care(registry.url).collect([])
    assert (await pusher.ask("HEAD", f"/v2/app/blobs/{digest}")).status == 200
    age(registry)
    await care.Care(registry.url).collect([])

    assert (await pusher.ask("HEAD", f"/v2/app/blobs/{digest}")).status == 404


async def test_image_pushed_again_since_it_was_listed_stays(
    registry: Registry, pusher: oci.Client
) -> None:
    """A build of the same commit made the same image; the decision from before does not count."""
    keeper = care.Care(registry.url)
    digest = await pusher.push_image("builds/a/image", "1", [b"layer"])
    age(registry)
    going = await keeper.inventory()
    await pusher.push_image("builds/a/image", "2", [b"layer"])
    done = await keeper.collect(going)

    assert (done.manifests, done.blobs) == (0, 0)
    assert await pusher.is_whole("builds/a/image", digest)


async def test_image_that_a_pusher_found_stays_with_its_layers(
    registry: Registry, pusher: oci.Client
) -> None:
    """Who asks for a manifest by its tag skips all of its layers."""
    keeper = care.Care(registry.url)
    digest = await pusher.push_image("builds/a/image", "1", [b"layer"])
    age(registry)
    going = await keeper.inventory()
    await pusher.ask("HEAD", "/v2/builds/a/image/manifests/1", Accept=oci.MANIFEST)
    await keeper.collect(going)

    assert await pusher.is_whole("builds/a/image", digest)


async def test_index_goes_with_its_parts_and_its_repository(
    registry: Registry, pusher: oci.Client
) -> None:
    """Nothing is left of it, not even a name in the catalogue."""
    keeper = care.Care(registry.url)
    part = await pusher.push_image("builds/a/image", "", [b"layer"])
    listed = {"mediaType": oci.MANIFEST, "digest": part, "size": 1}
    body = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [listed]}
    await pusher.push_manifest("builds/a/image", "1", body)
    age(registry)
    nothing = collection.Facts(frozenset(), frozenset(), frozenset())
    going = collection.unreachable(await keeper.inventory(), nothing)
    await keeper.collect(going)
    await keeper.collect([], grace_seconds=0)

    assert await keeper.inventory() == []
    assert list((registry.folder / "docker/registry/v2").rglob("data")) == []
    assert b"builds/a" not in (await pusher.ask("GET", "/v2/_catalog")).body


async def test_care_needs_its_own_token_where_pods_are_let_in(registry: Registry) -> None:
    """A build's token, which may push, does not let images go; nor does none."""
    usage = await care.Care(registry.guarded_url, registry.key).usage()
    with pytest.raises(errors.Unavailable, match="401"):
        await care.Care(registry.guarded_url).usage()
    other = registry.key.parent / "other"
    other.write_text("o" * 64)
    with pytest.raises(errors.Unavailable, match="not issued for this registry"):
        await care.Care(registry.guarded_url, other).collect([])

    assert usage.capacity > usage.free > 0


async def test_full_disk_refuses_a_push_and_a_build_before_it(
    registry: Registry, pusher: oci.Client
) -> None:
    """What was there stays whole, what broke off is cleared away, and then there is room again."""
    keeper = care.Care(registry.url)
    with full_at(registry, 8 << 20):
        kept = await pusher.push_image("builds/a/image", "1", [b"layer"])
        started = await pusher.ask("POST", "/v2/builds/a/image/blobs/uploads/")
        content = os.urandom(16 << 20)
        refused = await pusher.ask("PATCH", started.headers["Location"], content)
        refusal = collection.without_room((await keeper.usage()).free)
        assert await pusher.is_whole("builds/a/image", kept)
        cleared = await keeper.collect([], grace_seconds=0)
        await pusher.push_image("builds/a/image", "2", [os.urandom(4 << 20)])

    assert refused.status >= 500
    assert refusal is not None
    assert "0.0 GiB left, and a build needs 2.0 GiB" in refusal.message
    assert cleared.usage.free > 4 << 20


async def test_room_is_counted_and_a_build_that_needs_more_has_to_wait(
    kube: client.Client, registry: Registry
) -> None:
    """By what the registry says now; one that does not answer refuses nobody."""
    counted = metrics.Metrics()
    keeper = registry_care.Keeper(kube, care.Care(registry.url), counted)
    refused = await keeper.refusal(1 << 60)
    silent = registry_care.Keeper(kube, care.Care("http://127.0.0.1:1"), metrics.Metrics())

    assert refused is not None
    assert (refused.reason, refused.again_seconds) == ("RegistryFull", 60.0)
    assert await keeper.refusal(1) is None
    assert await silent.refusal(1 << 60) is None
    assert counted.registry.get_sample_value("bex_registry_free_bytes", {}) > 0  # type: ignore[operator]


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_that_is_needed_is_ever_missing(
    kube: client.Client, namespace: str, registry: Registry, pusher: oci.Client, seed: int
) -> None:
    """Pushes, deploys, rollbacks, deletions and collections at random; all space comes back."""
    world = World(pusher, kube, namespace, registry.folder, seed)
    keeper = care.Care(registry.url)
    left = ACTIONS

    async def live() -> None:
        nonlocal left
        # Chance says which App is asked: it can be long until one has something to go back to.
        while left > 0 or (left > -9 * ACTIONS and not set(world.done) >= KINDS):
            left -= 1
            await world.act()

    async def collect() -> care.Report:
        world.let_hours_pass()
        return (await registry_care.collect(kube, keeper)).report

    living = [asyncio.create_task(live()) for _ in range(PUSHERS)]
    reports = []
    while not all(each.done() for each in living):
        reports.append(await collect())
        assert await world.missing() == []
        await asyncio.sleep(0)
    await asyncio.gather(*living)
    reports.append(await collect())
    assert await world.missing() == []
    freed = sum(each.freed for each in reports)
    done = ", ".join(f"{number} x {what}" for what, number in sorted(world.done.items()))
    told = f"{done}; {len(reports)} collections, {freed >> 20} MiB freed"
    print(f"{told}; seed {seed}")  # noqa: T201 - the report
    await world.end()
    await collect()

    assert world.done.total() == ACTIONS - left
    assert set(world.done) >= KINDS
    assert freed > 0
    assert world.bytes_of() == 0
