"""A stack at Hetzner goes: against a real API server and a made-up Hetzner, in the plan's order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from bex_operator import api
from bex_operator.kube import client as kube
from bex_operator.kube import errors, kinds
from bex_stack.hetzner import cloud, drain, draining
from tests.bex_stack.hetzner import examples
from tests.support import hetzner_api, waiting
from tests.support.api_server import ApiServer, run_api_server
from tests.support.cluster_api import loaded
from tests.support.hetzner_api import Hetzner

SPACE = "shop"
HELD = "example.org/held"
"""A finalizer, as the operator, the cloud's controller and the CSI driver each have one."""
CSI = {"managed-by": "csi-driver", "bex-stack": "hetzner", "pvc-name": "data"}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    """An API server of its own: a drain empties a whole cluster."""
    with run_api_server() as made:
        yield made


@pytest.fixture(scope="module")
async def client(server: ApiServer) -> AsyncIterator[kube.Client]:
    """Its administrator, where Apps are known."""
    async with (
        kube.Client.from_kubeconfig(server.kubeconfig) as made,
        loaded(made, [api.crd()]),
    ):
        for name in (SPACE, api.NAMESPACE):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await made.apply(namespace, field_manager="test")
        yield made


@dataclass
class Controllers:
    """What runs in an app cluster: lets go of objects once what they stand for is gone."""

    client: kube.Client
    hetzner: Hetzner
    stuck: frozenset[str] = frozenset()
    """Kinds that no controller lets go of."""
    let_go: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            with contextlib.suppress(errors.NotFound, errors.Conflict):
                await self._end_pods()
                for kind in (kinds.APP, kinds.SERVICE, kinds.PERSISTENT_VOLUME_CLAIM):
                    await self._let_go(kind)
            await asyncio.sleep(0.05)

    async def _end_pods(self) -> None:
        for each in (await self.client.list(kinds.STATEFUL_SET, SPACE)).items:
            meta = each["metadata"]
            status = {
                "observedGeneration": meta["generation"],
                "replicas": each["spec"]["replicas"],
            }
            if each.get("status", {}).get("observedGeneration") != meta["generation"]:
                if not each["spec"]["replicas"]:
                    self.let_go.append("pods")
                body = {"status": status}
                await self.client.patch(
                    kinds.STATEFUL_SET, meta["name"], SPACE, body, subresource="status"
                )

    async def _let_go(self, kind: kinds.Kind) -> None:
        for each in (await self.client.list(kind)).items:
            meta = each["metadata"]
            if "deletionTimestamp" not in meta or kind.kind in self.stuck:
                continue
            self._remove(each)
            body = {"metadata": {"finalizers": []}}
            await self.client.patch(kind, meta["name"], meta["namespace"], body)
            self.let_go.append(kind.kind)

    def _remove(self, each: dict[str, Any]) -> None:
        kind = {"Service": "load_balancers", "PersistentVolumeClaim": "volumes"}.get(each["kind"])
        if kind is not None:
            self.hetzner.project.things[kind].clear()


@contextlib.asynccontextmanager
async def running(controllers: Controllers) -> AsyncIterator[Controllers]:
    """Let the controllers run for as long as the block lasts."""
    task = asyncio.create_task(controllers.run())
    try:
        yield controllers
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def meta(name: str, namespace: str = SPACE) -> dict[str, Any]:
    """Name something that a controller holds."""
    return {"name": name, "namespace": namespace, "finalizers": [HELD]}


def objects() -> list[dict[str, Any]]:
    """An App, a Service with a load balancer, one without, and a StatefulSet with its claim."""
    labels = {"app": "db"}
    pod = {"containers": [{"name": "db", "image": "db:1"}]}
    size = {"requests": {"storage": "10Gi"}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": size}
    port = [{"port": 80}]
    return [
        {
            "apiVersion": "app.bex.co/v1alpha1",
            "kind": "App",
            "metadata": meta("hello", api.NAMESPACE),
            "spec": {"image": "hello:1"},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta("front"),
            "spec": {"type": "LoadBalancer", "ports": port},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "inside", "namespace": SPACE},
            "spec": {"ports": port},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": SPACE},
            "spec": {
                "replicas": 1,
                "serviceName": "db",
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": meta("data-db-0"),
            "spec": claim,
        },
    ]


def seed(hetzner: Hetzner) -> None:
    """Put there what those objects stand for, and servers."""
    hetzner.seed("servers", name="bex-platform-a-b", labels={"caph-cluster-bex": "owned"})
    hetzner.seed("volumes", name="pvc-1", labels=CSI)
    hetzner.seed("load_balancers", name="a1", labels={"hcloud-ccm/service-uid": "1"})


async def drained(server: ApiServer, hetzner: Hetzner) -> list[draining.Step]:
    """Observe, plan, do."""
    wanted = examples.wanted()
    with cloud.Cloud(hetzner_api.TOKEN, hetzner.url) as connection:
        things = await asyncio.to_thread(connection.things)
        seen = await drain.observe(server.kubeconfig)
        steps = draining.plan(wanted, things, seen, "--stack hetzner")
        await drain.run(steps, server.kubeconfig, connection, wanted, lambda _text: None)
    return steps


async def test_cluster_is_emptied_in_the_order_of_the_plan(
    server: ApiServer, client: kube.Client, hetzner: Hetzner
) -> None:
    """Apps, load balancers, pods, volumes: each only when the one before is gone."""
    for each in objects():
        await client.apply(each, field_manager="test")
    seed(hetzner)
    async with running(Controllers(client, hetzner)) as controllers:
        steps = await drained(server, hetzner)

    assert controllers.let_go == ["App", "Service", "pods", "PersistentVolumeClaim"]
    assert [step.name for step in steps if step.is_ours] == [
        "apps",
        "load balancers of Services",
        "pods with volumes",
        "volumes",
    ]
    assert not hetzner.project.things["volumes"]
    assert not hetzner.project.things["load_balancers"]
    left = {each["metadata"]["name"] for each in (await client.list(kinds.SERVICE, SPACE)).items}
    assert left == {"inside"}
    again = await drained(server, hetzner)
    assert [step for step in again if step.is_ours] == []
    await client.delete(kinds.STATEFUL_SET, "db", SPACE)


async def test_step_that_does_not_end_says_what_it_waited_for(
    client: kube.Client, hetzner: Hetzner
) -> None:
    """And the next ones are not begun."""
    (app, *_others) = objects()
    await client.apply(app, field_manager="test")
    what = (("App", api.NAMESPACE, "hello"),)
    step = draining.Step("apps", "delete", what, "the operator to let go of each App", 0)
    stuck = Controllers(client, hetzner, stuck=frozenset({"App"}))
    async with running(stuck):
        with pytest.raises(drain.NotDrained, match="waited 0 s for the operator") as refused:
            await drain.do(client, step)
    assert "still there: App bex-apps/hello" in str(refused.value)

    async with running(Controllers(client, hetzner)) as controllers:
        await waiting.until(lambda: gone(controllers), "the App is gone")


async def gone(controllers: Controllers) -> bool:
    """Whether no App is left."""
    return not (await controllers.client.list(kinds.APP)).items


async def test_cluster_that_does_not_answer_is_told(tmp_path: Any, server: ApiServer) -> None:
    """With the file that was used; nothing is taken for gone."""
    text = server.kubeconfig.read_text().replace(server.url, "https://127.0.0.1:9")
    (tmp_path / "kubeconfig").write_text(text)

    with pytest.raises(drain.NotDrained, match="does not answer, and it still has servers"):
        await drain.observe(tmp_path / "kubeconfig")
