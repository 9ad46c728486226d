"""The operator as a process: it starts, dies, comes back, hands over, and never writes too much."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from bex_operator.kube import client, errors, kinds
from tests.support import places
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import NO_REGISTRY, app_manifest, kube, namespace, until
from tests.support.fault_proxy import fault_proxy

__all__ = ["kube", "namespace"]


@dataclass
class Operator:
    """A running operator and where it answers."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    async def get(self, path: str) -> tuple[int, str]:
        """Ask its health server."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def ready(self) -> bool:
        """Tell whether it says it is ready."""
        try:
            return (await self.get("/readyz"))[0] == 200
        except aiohttp.ClientError:
            return False

    async def leads(self) -> bool:
        """Tell whether it acts."""
        return await self.ready() and "bex_leading 1.0" in (await self.get("/metrics"))[1]

    async def writes(self) -> float:
        """How many writes it has sent."""
        _, text = await self.get("/metrics")
        lines = [line for line in text.splitlines() if line.startswith("bex_writes_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


Start = Callable[..., Operator]


@pytest.fixture
async def start(api_server: ApiServer, namespace: str, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts operators for the test's namespace; ends what is left."""
    with contextlib.ExitStack() as stack:

        def begin(*arguments: str) -> Operator:
            (port,) = places.free_ports(1)
            log = tmp_path / f"operator-{port}.log"
            command = [
                *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "bex_operator"),
                *("operator", "--kubeconfig", str(api_server.kubeconfig)),
                *("--health-port", str(port), "--namespaces", namespace),
                *("--lease-namespace", namespace, *arguments),
                *("--registries", f"example.com={NO_REGISTRY}"),
            ]
            output = stack.enter_context(log.open("wb"))
            process = subprocess.Popen(command, stderr=output)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return Operator(process, port, log)

        yield begin


async def phase(kube: client.Client, namespace: str, name: str = "web") -> str:
    """The App's phase, empty if it has none."""
    found = await kube.get(kinds.APP, name, namespace)
    return str(found.get("status", {}).get("phase", ""))


def deploying(kube: client.Client, namespace: str, name: str) -> Callable[[], object]:
    """Whether the App has been acted on."""

    async def holds() -> bool:
        return await phase(kube, namespace, name) == "Deploying"

    return holds


async def test_operator_acts_on_an_app(kube: client.Client, namespace: str, start: Start) -> None:
    """A new App has its children and a status after as many writes as it needs, and no more."""
    operator = start()
    await until(operator.leads, "the operator leads")

    await kube.create(app_manifest(namespace, host=f"{namespace}.example.com"), field_manager="t")
    await until(deploying(kube, namespace, "web"), "the App is acted on")

    async def has_written() -> bool:
        return await operator.writes() >= 5  # it counts a write once it has read the answer

    await kube.get(kinds.INGRESS, "web", namespace)
    await until(has_written, "all writes are counted")
    assert await operator.writes() == 5  # release, three children, status
    assert operator.end() == 0


async def test_deleted_app_is_gone(kube: client.Client, namespace: str, start: Start) -> None:
    """The finalizer's work is done, and it takes everything along."""
    operator = start()
    await kube.create(app_manifest(namespace), field_manager="t")
    await until(deploying(kube, namespace, "web"), "the App is acted on")

    await kube.delete(kinds.APP, "web", namespace)

    async def gone() -> bool:
        with contextlib.suppress(errors.NotFound):
            await kube.get(kinds.APP, "web", namespace)
            return False
        return True

    await until(gone, "the App is gone")
    for kind in (kinds.DEPLOYMENT, kinds.SERVICE):
        assert (await kube.list(kind, namespace)).items == []
    assert operator.end() == 0


async def test_killed_operator_picks_up_where_it_was(
    kube: client.Client, namespace: str, start: Start
) -> None:
    """kill -9 in the middle of many Apps: its successor finishes, and writes nothing twice."""
    first = start()
    await until(first.leads, "the operator leads")
    names = [f"web-{number}" for number in range(30)]
    for name in names:
        await kube.create(app_manifest(namespace, name), field_manager="t")
    first.end(signal.SIGKILL)

    second = start()

    async def all_deploying() -> bool:
        found = await kube.list(kinds.APP, namespace)
        return all(each.get("status", {}).get("phase") == "Deploying" for each in found.items)

    await until(all_deploying, "every App is acted on")
    assert len((await kube.list(kinds.DEPLOYMENT, namespace)).items) == len(names)
    assert second.end() == 0
    third = start()
    await until(third.leads, "the third operator leads")
    await asyncio.sleep(0.5)
    assert await third.writes() == 0


async def test_fault_37_one_killed_while_it_learns_what_there_is_harms_nobody(
    api_server: ApiServer, kube: client.Client, namespace: str, start: Start, tmp_path: Path
) -> None:
    """As when its memory runs out then: the next one starts from nothing, too, and acts."""
    await kube.create(app_manifest(namespace), field_manager="t")
    async with fault_proxy(api_server.kubeconfig) as (proxy, access):
        cluster = {"name": "c", "cluster": {"server": access.server}}
        context = {"name": "c", "context": {"cluster": "c"}}
        made = {"clusters": [cluster], "contexts": [context], "current-context": "c"}
        path = tmp_path / "slow"
        path.write_text(json.dumps(made))
        proxy.edit = lambda line: None  # it is told nothing, and goes on waiting
        first = start("--kubeconfig", str(path))

        async def is_learning() -> bool:
            return any("sendInitialEvents" in asked for _, asked in proxy.requests)

        await until(is_learning, "the first one learns what there is")
        assert not await first.ready()
        first.end(signal.SIGKILL)

    second = start()
    await until(deploying(kube, namespace, "web"), "the App is acted on")
    assert second.end() == 0


async def test_sigterm_hands_over(kube: client.Client, namespace: str, start: Start) -> None:
    """A leader that ends gives its lease up; the one that waits acts at its next try."""
    first, second = start("--leader-elect"), None
    await until(first.leads, "the first leads")
    second = start("--leader-elect")
    await until(second.ready, "the second is ready")
    assert not await second.leads()

    mine = await kube.get(kinds.LEASE, "bex-operator", namespace)
    assert first.end() == 0
    given_up = await kube.get(kinds.LEASE, "bex-operator", namespace)

    holder = mine["spec"]["holderIdentity"]
    assert given_up["spec"].get("holderIdentity") != holder
    await until(second.leads, "the second leads")
    await kube.create(app_manifest(namespace), field_manager="t")
    await until(deploying(kube, namespace, "web"), "the App is acted on")


async def test_killed_leader_is_replaced_when_its_lease_ends(
    kube: client.Client, namespace: str, start: Start
) -> None:
    """Nobody acts for at most the length of a lease and a try."""
    first = start("--leader-elect")
    await until(first.leads, "the first leads")
    second = start("--leader-elect")
    await until(second.ready, "the second is ready")

    first.end(signal.SIGKILL)

    await until(second.leads, "the second leads")
    lease = await kube.get(kinds.LEASE, "bex-operator", namespace)
    assert lease["spec"]["holderIdentity"].endswith(f"-{second.process.pid}")
    assert lease["spec"]["leaseTransitions"] == 1


async def test_restarted_leader_of_the_same_name_leads_at_once(start: Start) -> None:
    """A supervised process need not wait for the end of its own lease."""
    first = start("--leader-elect", "--identity", "host")
    await until(first.leads, "the first leads")
    first.end(signal.SIGKILL)

    second = start("--leader-elect", "--identity", "host")

    await until(second.leads, "it leads again")


async def test_stolen_lease_ends_the_process(
    kube: client.Client, namespace: str, start: Start
) -> None:
    """Whoever sees another name in the lease stops acting and exits non-zero, to start afresh."""
    operator = start("--leader-elect")
    await until(operator.leads, "the operator leads")

    thief = {"spec": {"holderIdentity": "thief"}}
    await kube.patch(kinds.LEASE, "bex-operator", namespace, thief)

    assert await asyncio.to_thread(operator.process.wait, 60) == 1
    assert "went to somebody else" in operator.log.read_text()


async def test_poisoned_app_delays_nobody(
    kube: client.Client, namespace: str, start: Start
) -> None:
    """An App that the API server refuses to be acted on leaves the others alone."""
    operator = start()
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q", "namespace": namespace},
        "spec": {"hard": {"count/poddisruptionbudgets.policy": "0"}},
    }
    await kube.create(quota, field_manager="t")
    status = {"hard": quota["spec"]["hard"], "used": {"count/poddisruptionbudgets.policy": "0"}}
    await kube.patch(kinds.RESOURCE_QUOTA, "q", namespace, {"status": status}, subresource="status")
    await kube.create(app_manifest(namespace, "poison", replicas=2), field_manager="t")
    await kube.create(app_manifest(namespace, "well"), field_manager="t")

    await until(deploying(kube, namespace, "well"), "the other App is acted on")
    await until(lambda: _says(kube, namespace, "poison", "Forbidden"), "the poisoned one says why")

    assert operator.end() == 0


async def _says(kube: client.Client, namespace: str, name: str, reason: str) -> bool:
    found = await kube.get(kinds.APP, name, namespace)
    conditions = found.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["reason"] == reason for each in conditions)


async def test_wrong_kubeconfig_is_told_in_one_line(tmp_path: Path) -> None:
    """A process that cannot start says which file and why, and exits 1."""
    command = [sys.executable, "-m", "bex_operator", "operator", "--kubeconfig"]

    ended = await asyncio.to_thread(
        subprocess.run,
        [*command, str(tmp_path / "none")],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ},
        check=False,
    )

    assert ended.returncode == 1
    assert "kubeconfig" in ended.stderr
    assert "Traceback" not in ended.stderr
