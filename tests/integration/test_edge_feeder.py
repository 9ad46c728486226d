"""The feeder between a real API server and a real Caddy."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.support.api_server import ApiServer
from tests.support.edge_cluster import (
    Feeder,
    Line,
    Load,
    Site,
    cluster_pods,
    feeder,
    host_address,
    kubeconfig_over_line,
    line,
    site,
)
from tests.support.edge_proxy import (
    Pod,
    Proxy,
    caddy_binary,
    free_ports,
    proxy,
    stopped_proxy,
    until,
)

__all__ = [
    "caddy_binary",
    "cluster_pods",
    "feeder",
    "host_address",
    "kubeconfig_over_line",
    "line",
    "proxy",
    "site",
    "stopped_proxy",
]


async def serves(proxy: Proxy, host: str, status: int, body: str = "") -> None:
    """Wait until the host answers so."""

    async def does() -> bool:
        found, text, _ = await proxy.get(host)
        return found == status and (not body or text == body)

    await until(does, f"{host} answers {status} {body}")


async def sends_to(proxy: Proxy, *pods: Pod) -> None:
    """Wait until Caddy sends requests to these pods and to no other."""

    async def does() -> bool:
        return await proxy.members() == {pod.endpoint for pod in pods}

    await until(does, f"Caddy knows {', '.join(pod.name for pod in pods)}")


async def is_asked(pod: Pod) -> None:
    """Wait until the pod gets requests; there has to be a load."""
    before = pod.requests

    async def has_more() -> bool:
        return pod.requests > before

    await until(has_more, f"requests reach {pod.name}")


@pytest.mark.usefixtures("feeder")
async def test_new_host_and_its_end_are_live(
    site: Site, proxy: Proxy, cluster_pods: tuple[Pod, Pod]
) -> None:
    """A host is served once its Ingress is written, and gone once it is deleted."""
    await site.add(cluster_pods[0])
    await site.write_ingress()
    await serves(proxy, site.host, 200, "one")

    await site.write_ingress(f"other-{site.host}")
    await serves(proxy, site.host, 404)
    await serves(proxy, f"other-{site.host}", 200)

    await site.remove_ingress()
    await serves(proxy, f"other-{site.host}", 404)


@pytest.mark.usefixtures("feeder")
async def test_new_host_is_live_over_https(
    site: Site, proxy: Proxy, cluster_pods: tuple[Pod, Pod]
) -> None:
    """A new host gets a certificate of its own."""
    await site.add(cluster_pods[0])
    await site.write_ingress()

    async def answers() -> bool:
        return await proxy.curl(site.host) == "one"

    await until(answers, "the host answers over https")


async def test_change_of_pods_is_live_without_a_load(
    site: Site, feeder: Feeder, proxy: Proxy, cluster_pods: tuple[Pod, Pod]
) -> None:
    """Pods come and go; Caddy's configuration is never loaded again."""
    one, two = cluster_pods
    await site.write_ingress()
    await serves(proxy, site.host, 503)

    await site.add(one, two)
    await serves(proxy, site.host, 200)
    await site.remove(one)
    await serves(proxy, site.host, 200, "two")
    await site.add(two, ready=False)
    await serves(proxy, site.host, 503)
    await site.add(two, ready=True, serving=True, terminating=True)
    await site.add(one)
    await serves(proxy, site.host, 200)
    await sends_to(proxy, one)

    assert await feeder.count("bex_edge_loads_total") == 0


@pytest.mark.usefixtures("feeder")
async def test_flapping_pods_cost_no_request(
    site: Site, proxy: Proxy, cluster_pods: tuple[Pod, Pod]
) -> None:
    """Under steady load, pods that leave before they end fail nobody, not even a POST."""
    one, two = cluster_pods
    await site.add(one, two)
    await site.write_ingress()
    await serves(proxy, site.host, 200)

    async with Load(proxy.url, site.host) as load:
        for leaving in (one, two, one, two):
            await site.remove(leaving)
            await sends_to(proxy, *({one, two} - {leaving}))
            await leaving.stop()
            await leaving.start()
            await site.add(leaving)
            await sends_to(proxy, one, two)
            await is_asked(leaving)

    assert load.failures == []
    assert set(load.answers) == {"one", "two"}
    assert sum(load.answers.values()) > 50


@pytest.mark.usefixtures("feeder")
async def test_dying_pods_cost_no_get(
    site: Site, proxy: Proxy, cluster_pods: tuple[Pod, Pod]
) -> None:
    """Under steady load, pods that end without a word fail no request that is safe to repeat."""
    one, two = cluster_pods
    await site.add(one, two)
    await site.write_ingress()
    await serves(proxy, site.host, 200)

    async with Load(proxy.url, site.host, methods=("GET",)) as load:
        for dying in (one, two, one, two):
            await dying.stop()
            (other,) = {one, two} - {dying}
            await is_asked(other)
            await site.remove(dying)
            await sends_to(proxy, other)
            await dying.start()
            await site.add(dying)
            await is_asked(dying)

    assert load.failures == []
    assert sum(load.answers.values()) > 50


@pytest.mark.usefixtures("feeder")
async def test_changing_hosts_cost_others_no_request(
    site: Site, proxy: Proxy, cluster_pods: tuple[Pod, Pod]
) -> None:
    """Hosts come and go while another, on kept-alive connections, loses not even a POST."""
    await site.add(*cluster_pods)
    await site.write_ingress()
    await serves(proxy, site.host, 200)

    async with Load(proxy.url, site.host) as load:
        for number in range(8):
            await site.write_ingress(f"h{number}-{site.host}", name="other")
            await serves(proxy, f"h{number}-{site.host}", 200)

    assert load.failures == []


@pytest.mark.usefixtures("feeder")
async def test_killed_caddy_serves_again_with_what_changed_meanwhile(
    site: Site, proxy: Proxy, cluster_pods: tuple[Pod, Pod]
) -> None:
    """After kill -9 Caddy starts with what was kept, and the feeder brings it up to date."""
    await site.add(cluster_pods[0])
    await site.write_ingress()
    await serves(proxy, site.host, 200)
    await sends_to(proxy, cluster_pods[0])  # that is what was kept
    proxy.stop(signal.SIGKILL)
    await site.write_ingress(site.host, f"other-{site.host}")
    await proxy.start()

    first, _, _ = await proxy.get(site.host)

    assert first == 200
    await serves(proxy, f"other-{site.host}", 200)


async def test_caddy_of_before_is_served_by_a_new_feeder(
    site: Site, feeder: Feeder, proxy: Proxy, cluster_pods: tuple[Pod, Pod]
) -> None:
    """A feeder that ends leaves Caddy serving, exits with 0, and its successor loads nothing."""
    await site.add(cluster_pods[0])
    await site.write_ingress()
    await serves(proxy, site.host, 200)
    code = feeder.stop()
    alone = await proxy.get(site.host)
    feeder.start()
    await until(feeder.is_ready, "the feeder is ready again")

    assert (code, alone[0]) == (0, 200)
    assert await feeder.count("bex_edge_loads_total") == 0
    assert await feeder.count("bex_edge_updates_total") == 0


async def test_host_of_an_older_ingress_is_refused_to_others(
    site: Site, feeder: Feeder, proxy: Proxy, cluster_pods: tuple[Pod, Pod]
) -> None:
    """The Ingress created first keeps the host; the other is counted and gets it afterwards."""
    await site.add(cluster_pods[0])
    await site.write_ingress(name="b")
    await asyncio.sleep(1.1)  # objects know their age in whole seconds
    await site.write_ingress(site.host.upper().lower(), f"other-{site.host}", name="a")
    await serves(proxy, f"other-{site.host}", 200)

    assert await feeder.count("bex_edge_refused_hosts") == 1
    await site.remove_ingress("b")

    async def is_nobody_refused() -> bool:
        return await feeder.count("bex_edge_refused_hosts") == 0

    await until(is_nobody_refused, "the other gets the host")
    await serves(proxy, site.host, 200)


async def test_outage_of_the_api_server_is_bridged(
    site: Site,
    proxy: Proxy,
    cluster_pods: tuple[Pod, Pod],
    line: Line,
    kubeconfig_over_line: Path,
) -> None:
    """While the API server is away everything is served; what changed meanwhile comes after."""
    feeder = Feeder(proxy, str(kubeconfig_over_line), *free_ports(1))
    feeder.start()
    await until(feeder.is_ready, "the feeder is ready")
    await site.add(cluster_pods[0])
    await site.write_ingress()
    await serves(proxy, site.host, 200, "one")

    await line.cut()
    await site.add(cluster_pods[1])
    await site.remove(cluster_pods[0])
    await asyncio.sleep(0.5)
    during = await proxy.get(site.host)
    await line.mend()
    await until(lambda: _answers(proxy, site.host, "two"), "the change arrives")

    assert during[:2] == (200, "one")
    assert feeder.stop() == 0


async def test_feeder_that_knows_nothing_yet_leaves_caddy_alone(
    site: Site,
    feeder: Feeder,
    proxy: Proxy,
    cluster_pods: tuple[Pod, Pod],
    line: Line,
    kubeconfig_over_line: Path,
) -> None:
    """A feeder that starts without an API server is not ready and takes no route away."""
    await site.add(cluster_pods[0])
    await site.write_ingress()
    await serves(proxy, site.host, 200)
    feeder.stop()
    await line.cut()
    newcomer = Feeder(proxy, str(kubeconfig_over_line), *free_ports(1))
    newcomer.start()
    await until(newcomer.is_alive, "the newcomer runs")
    await asyncio.sleep(0.5)

    assert not await newcomer.is_ready()
    assert (await proxy.get(site.host))[0] == 200
    assert newcomer.stop() == 0


async def test_feeder_waits_for_a_caddy_that_starts_later(
    site: Site, stopped_proxy: Proxy, api_server: ApiServer, cluster_pods: tuple[Pod, Pod]
) -> None:
    """Feeder and Caddy start in any order."""
    await site.add(cluster_pods[0])
    await site.write_ingress()
    feeder = Feeder(stopped_proxy, str(api_server.kubeconfig), *free_ports(1))
    feeder.start()
    await until(feeder.is_alive, "the feeder runs")
    was_ready = await feeder.is_ready()

    await stopped_proxy.start()

    await serves(stopped_proxy, site.host, 200, "one")
    assert not was_ready
    assert feeder.stop() == 0


async def _answers(proxy: Proxy, host: str, body: str) -> bool:
    return (await proxy.get(host))[1] == body
