"""Hosts over all namespaces: first come keeps a host, and giving it up passes it on."""

from typing import Any

from bex_operator.kube import kinds
from tests.support.apps_cluster import Bench, bench, condition, kube, namespace

__all__ = ["bench", "kube", "namespace"]


def host_of(bench: Bench, name: str = "shared") -> str:
    """A host of the test's own."""
    return f"{name}.{bench.namespace}.example.com"


async def routed(bench: Bench, name: str) -> list[str]:
    """Hosts that the App's Ingress routes."""
    ingress = await bench.find(kinds.INGRESS, name)
    return [rule["host"] for rule in ingress["spec"]["rules"]] if ingress else []


async def two(bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two Apps that want one host; the first has it, the second has another as well."""
    await bench.create("first", host=host_of(bench))
    await bench.create("second", host=host_of(bench).upper(), hosts=[host_of(bench, "own")])
    return await bench.reconcile("first"), await bench.reconcile("second")


async def test_loser_keeps_its_other_hosts_and_names_the_winner(bench: Bench) -> None:
    """The second to ask does not get the host, is told who has it, and is reached otherwise."""
    first, second = await two(bench)

    assert condition(first, "HostsClaimed")[0] == "True"
    status, reason, message = condition(second, "HostsClaimed")
    assert (status, reason) == ("False", "HostTaken")
    assert f"{bench.namespace}/first" in message
    assert await routed(bench, "first") == [host_of(bench)]
    assert await routed(bench, "second") == [host_of(bench, "own")]
    assert second["status"]["url"] == f"http://{host_of(bench, 'own')}:8080"
    await bench.assert_settled("first")
    await bench.assert_settled("second")


async def test_older_app_cannot_take_a_host_that_is_routed(bench: Bench) -> None:
    """What counts is who had the host first, not who is older."""
    await bench.create("older")
    await bench.reconcile("older")
    await bench.create("younger", host=host_of(bench))
    await bench.reconcile("younger")
    await bench.change("older", host=host_of(bench))

    older = await bench.reconcile("older")

    assert condition(older, "HostsClaimed")[1] == "HostTaken"
    assert await routed(bench, "younger") == [host_of(bench)]


async def test_host_given_up_passes_to_the_next(bench: Bench) -> None:
    """When the winner lets a host go, the loser is woken and gets it."""
    await two(bench)
    await bench.drain_queue()
    await bench.change("first", host=host_of(bench, "elsewhere"))
    await bench.reconcile("first")

    assert (bench.namespace, "second") in await bench.drain_queue()
    second = await bench.reconcile("second")
    assert condition(second, "HostsClaimed")[0] == "True"
    assert await routed(bench, "second") == [host_of(bench), host_of(bench, "own")]


async def test_deleted_winner_passes_its_host_on(bench: Bench) -> None:
    """Once the winner's Ingress is gone, the loser is woken and gets the host."""
    await two(bench)
    await bench.drain_queue()
    await bench.delete_app("first")
    await bench.controller.reconcile((bench.namespace, "first"))
    await bench.gone(kinds.INGRESS, "first")

    assert (bench.namespace, "second") in await bench.drain_queue()
    second = await bench.reconcile("second")
    assert condition(second, "HostsClaimed")[0] == "True"
