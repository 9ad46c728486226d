"""The name server's address, where an API server keeps it already: for nobody, or for others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bex_operator.kube import client, errors, kinds
from bex_stack.embedded import dns, service_address
from bex_stack.embedded import instance as instances
from tests.support.addresses import ADDRESS, keep_for_nobody
from tests.support.apps_cluster import kube, namespace

__all__ = ["kube", "namespace"]


@pytest.fixture
async def service(kube: client.Client, tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """The Service of the name server; it and its address are gone afterwards."""
    instance = instances.from_inputs({"home": str(tmp_path)})
    found = next(each for each in dns.objects(instance) if each["kind"] == "Service")
    meta = found["metadata"]
    yield found
    with contextlib.suppress(errors.NotFound):
        await kube.delete(kinds.SERVICE, meta["name"], meta["namespace"])
    with contextlib.suppress(errors.NotFound):
        await kube.delete(kinds.IP_ADDRESS, ADDRESS)


async def test_address_of_a_service_that_never_came_is_freed(
    kube: client.Client, service: dict[str, Any]
) -> None:
    """The API server refuses it until somebody takes the address away, and that is said once."""
    orphan = await keep_for_nobody(kube)
    with pytest.raises(errors.Invalid, match="already allocated"):
        await kube.apply(service, field_manager="test")
    told: list[str] = []

    await service_address.apply(kube, service, field_manager="test", tell=told.append)

    meta = service["metadata"]
    made = await kube.get(kinds.SERVICE, meta["name"], meta["namespace"])
    kept = await kube.get(kinds.IP_ADDRESS, ADDRESS)
    assert made["spec"]["clusterIPs"] == [ADDRESS]
    assert kept["metadata"]["uid"] != orphan["metadata"]["uid"]
    assert len(told) == 1
    assert "kube-system/kube-dns waits for 10.96.0.10" in told[0]


async def test_address_that_is_given_back_meanwhile_is_taken(
    kube: client.Client, service: dict[str, Any]
) -> None:
    """A request still under way gets its time; when it gives up, nobody has to free anything."""
    await keep_for_nobody(kube)
    told = asyncio.Event()
    applying = asyncio.create_task(
        service_address.apply(
            kube,
            service,
            field_manager="test",
            tell=lambda _message: told.set(),
            grace_seconds=3600.0,
        )
    )
    await asyncio.wait_for(told.wait(), 60)

    await kube.delete(kinds.IP_ADDRESS, ADDRESS)

    await asyncio.wait_for(applying, 60)


async def test_address_of_another_service_stays_with_it(
    kube: client.Client, namespace: str, service: dict[str, Any]
) -> None:
    """Who has it is named."""
    metadata = {"name": "names", "namespace": namespace}
    other = {**service, "metadata": metadata}
    await kube.create(other, field_manager="test")

    with pytest.raises(service_address.AddressTaken, match=f"belongs to Service {namespace}/names"):
        await service_address.apply(kube, service, field_manager="test", grace_seconds=0.0)
    await kube.delete(kinds.SERVICE, "names", namespace)


async def test_address_of_something_else_stays_with_it(
    kube: client.Client, service: dict[str, Any]
) -> None:
    """Other controllers note addresses too."""
    await keep_for_nobody(kube, "door", group="gateway.networking.k8s.io", resource="gateways")

    with pytest.raises(service_address.AddressTaken, match="belongs to gateways kube-system/door"):
        await service_address.apply(kube, service, field_manager="test", grace_seconds=0.0)


async def test_other_refusals_are_told_at_once(
    kube: client.Client, service: dict[str, Any]
) -> None:
    """Only an address that is taken is worth a second try."""
    wrong = {**service, "spec": {**service["spec"], "clusterIP": "10.97.0.10"}}

    with pytest.raises(errors.Invalid, match=r"10\.97\.0\.10"):
        await service_address.apply(kube, wrong, field_manager="test")


async def test_wait_for_an_address_ends(kube: client.Client, service: dict[str, Any]) -> None:
    """What was waited for is in the message."""
    await keep_for_nobody(kube)

    with pytest.raises(service_address.AddressTaken, match=r"cannot have 10\.96\.0\.10 after 0 s"):
        await service_address.apply(
            kube, service, field_manager="test", grace_seconds=3600.0, timeout_seconds=0.0
        )
