"""Secrets that an App must not name, against a real API server."""

from typing import Any

import pytest
from aiohttp import web

from bex_operator.api import names
from bex_operator.kube import client, kinds
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import Bench, bench, condition, kube, make_bench, namespace
from tests.support.fault_proxy import Fault, fault_proxy

__all__ = ["bench", "kube", "namespace"]

PATHS: tuple[dict[str, Any], ...] = (
    {"envFromSecret": "taken"},
    {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "taken", "key": "k"}}}]},
    {"cloneSecret": "taken", "repo": "https://example.com/a/b", "image": None},
)


async def make_secret(kube: client.Client, namespace: str, **labels: str) -> None:
    """Create the Secret `taken`."""
    await kube.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "taken", "namespace": namespace, "labels": labels},
            "stringData": {"k": "hidden"},
        },
        field_manager="test",
    )


@pytest.mark.parametrize("spec", PATHS, ids=[next(iter(each)) for each in PATHS])
async def test_protected_secret_is_refused_by_every_path(
    bench: Bench, spec: dict[str, Any]
) -> None:
    """Nothing is made, and the condition names the Secret."""
    await make_secret(bench.kube, bench.namespace, **{names.PROTECTED_LABEL: "true"})
    await bench.create()
    await bench.change(**spec)

    app = await bench.reconcile()

    status, reason, message = condition(app, "Ready")
    assert (status, reason) == ("False", "ProtectedSecretReference")
    assert "'taken'" in message
    assert await bench.find(kinds.DEPLOYMENT) is None
    await bench.assert_settled()


async def test_protected_secret_takes_nothing_away(bench: Bench) -> None:
    """What serves goes on as it was, and the App is looked at again by itself."""
    await make_secret(bench.kube, bench.namespace)
    await bench.create(image="example.com/web:1")
    await bench.reconcile()
    await bench.play()
    before = await bench.get(kinds.DEPLOYMENT)
    label = {"metadata": {"labels": {names.PROTECTED_LABEL: "true"}}}
    await bench.kube.patch(kinds.SECRET, "taken", bench.namespace, label)
    await bench.change(envFromSecret="taken")

    again = await bench.controller.reconcile((bench.namespace, "web"))

    assert again == 60
    assert await bench.get(kinds.DEPLOYMENT) == before
    label["metadata"]["labels"][names.PROTECTED_LABEL] = "false"
    await bench.kube.patch(kinds.SECRET, "taken", bench.namespace, label)
    await bench.reconcile()
    assert await bench.get(kinds.DEPLOYMENT) != before


async def test_names_that_are_the_platforms_need_no_label(
    kube: client.Client, namespace: str
) -> None:
    """The operator is told them, and they are refused even where nobody has made them yet."""
    own = frozenset({"taken"})
    async with make_bench(kube, namespace, namespace, own_secrets=own) as bench:
        await bench.create(env_from_secret="taken")

        app = await bench.reconcile()

        assert condition(app, "Ready")[1] == "ProtectedSecretReference"
        assert await bench.find(kinds.DEPLOYMENT) is None


async def test_secret_is_asked_for_by_name_and_without_its_content(
    api_server: ApiServer, kube: client.Client, namespace: str
) -> None:
    """No list, no watch, and never the data; without the right to ask, the App is refused."""
    await make_secret(kube, namespace)
    found = await kube.get_metadata(kinds.SECRET, "taken", namespace)
    asked: list[str] = []

    def forbid(request: web.Request) -> Fault | None:
        if "/secrets" not in request.path:
            return None
        asked.append(request.path)
        return Fault(403, '{"kind": "Status", "reason": "Forbidden", "code": 403}')

    async with (
        fault_proxy(api_server.kubeconfig) as (proxy, access),
        client.Client(access) as own,
        make_bench(own, namespace, namespace) as bench,
    ):
        proxy.choose = forbid
        await bench.create(env_from_secret="taken")

        app = await bench.reconcile()

    assert "data" not in found
    assert asked == [f"/api/v1/namespaces/{namespace}/secrets/taken"]
    assert condition(app, "Ready")[1] == "SecretUnreadable"
    assert f"in namespace {namespace!r}" in condition(app, "Ready")[2]
