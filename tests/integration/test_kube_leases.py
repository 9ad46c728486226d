"""Who leads, on a real API server."""

import asyncio
import datetime

import pytest

from bex_operator.kube import client, kinds, leases
from tests.support.apps_cluster import kube, namespace

__all__ = ["kube", "namespace"]

NEVER_SECONDS = 3600.0


def candidate(kube: client.Client, namespace: str, who: str) -> leases.Election:
    """One that does not try again by itself."""
    lease = leases.Lease(namespace, "bex-operator", who)
    return leases.Election(kube, lease, retry_seconds=NEVER_SECONDS)


async def holder(kube: client.Client, namespace: str) -> str:
    """Whose name stands in the lease."""
    found = await kube.get(kinds.LEASE, "bex-operator", namespace)
    return str(found["spec"].get("holderIdentity", ""))


async def test_lease_given_up_is_taken_at_once(kube: client.Client, namespace: str) -> None:
    """The one that waits is told by its watch, not by its next try."""
    first, second = candidate(kube, namespace, "first"), candidate(kube, namespace, "second")
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(0)

    await first.release()

    await asyncio.wait_for(waiting, 60)
    assert await holder(kube, namespace) == "second"


@pytest.mark.parametrize("hours", [-1, 1])
async def test_fault_19_clocks_that_jump_move_no_lease(
    kube: client.Client, namespace: str, hours: int
) -> None:
    """What counts is how long ago its change was seen, on one's own clock that never jumps."""
    first, second = candidate(kube, namespace, "first"), candidate(kube, namespace, "second")
    await first.acquire()
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    renewed = {"spec": {"renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}}
    await kube.patch(kinds.LEASE, "bex-operator", namespace, renewed)

    assert not await second._try()
    assert await first._try()


async def test_deleted_lease_is_taken_at_once(kube: client.Client, namespace: str) -> None:
    """Somebody who deletes it lets anybody lead."""
    first, second = candidate(kube, namespace, "first"), candidate(kube, namespace, "second")
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(0)

    await kube.delete(kinds.LEASE, "bex-operator", namespace)

    await asyncio.wait_for(waiting, 60)
    assert await holder(kube, namespace) == "second"


async def test_renewal_on_the_way_does_not_keep_the_lease(
    kube: client.Client, namespace: str
) -> None:
    """It may arrive after we gave up on it: the version we know is old, the lease still ours."""
    first = candidate(kube, namespace, "first")
    await first.acquire()
    await kube.patch(kinds.LEASE, "bex-operator", namespace, {"spec": {"leaseTransitions": 7}})

    await first.release()

    assert await holder(kube, namespace) == ""


async def test_lease_of_another_is_not_given_up(kube: client.Client, namespace: str) -> None:
    """Who lost it has nothing to release."""
    first = candidate(kube, namespace, "first")
    await first.acquire()
    await kube.patch(kinds.LEASE, "bex-operator", namespace, {"spec": {"holderIdentity": "thief"}})

    await first.release()

    assert await holder(kube, namespace) == "thief"
