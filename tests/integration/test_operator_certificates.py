"""Certificates of hosts, against a real API server; the test plays cert-manager."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bex_operator.api import names
from bex_operator.kube import client, kinds
from tests.support import cert_manager
from tests.support.apps_cluster import Bench, condition, kube, make_bench, namespace

__all__ = ["kube", "namespace"]

HOST = "web.example.com"


@pytest.fixture
async def certified(kube: client.Client, namespace: str) -> AsyncIterator[Bench]:
    """An operator that is told an issuer, where cert-manager's kind is served."""
    await cert_manager.serve(kube)
    async with make_bench(kube, namespace, namespace, issuer="bex-local") as bench:
        yield bench


async def begin(bench: Bench) -> None:
    """Make what the Ingress asks for."""
    for made in await cert_manager.begin(bench.kube, bench.namespace, "web"):
        await bench.seen(bench.views.by_kind["Certificate"], made)


async def tell(bench: Bench, ready: bool, **status: Any) -> None:
    """Say what became of the certificate of the main host."""
    told = {"type": "Ready", "status": str(ready), "message": "the order is invalid"}
    written = await bench.kube.patch(
        kinds.CERTIFICATE,
        "web-tls",
        bench.namespace,
        {"status": {"conditions": [told], **status}},
        subresource="status",
        field_manager="cert-manager",
    )
    await bench.seen(bench.views.by_kind["Certificate"], written)


async def test_route_names_its_issuer_and_a_secret_for_each_host(certified: Bench) -> None:
    """It goes on serving plain requests meanwhile, and says what it waits for."""
    await certified.create(host=HOST, hosts=["b.example.com"])
    await certified.reconcile()
    await certified.play()

    app = await certified.reconcile()

    route = await certified.get(kinds.INGRESS)
    assert route["metadata"]["annotations"]["cert-manager.io/cluster-issuer"] == "bex-local"
    assert [each["hosts"] for each in route["spec"]["tls"]] == [[HOST], ["b.example.com"]]
    assert condition(app, "Certified")[:2] == ("False", "CertificatePending")
    assert condition(app, "Ready")[:2] == ("True", "Deployed")
    assert "cert-manager has to see the route" in condition(app, "Ready")[2]
    assert condition(app, "Degraded")[0] == "False"
    await certified.assert_settled()


async def test_certificate_that_comes_is_heard_of(certified: Bench) -> None:
    """The App is looked at when its certificate changes, and then lacks nothing."""
    await certified.create(host=HOST)
    await certified.reconcile()
    await certified.play()
    await begin(certified)
    app = await certified.reconcile()
    assert condition(app, "Certified")[2] == f"the certificate of host {HOST!r} is being made"
    await certified.drain_queue()

    await tell(certified, ready=True)
    assert await certified.drain_queue() == {(certified.namespace, "web")}
    app = await certified.reconcile()

    assert condition(app, "Certified") == ("True", "Certified", "every host has its certificate")
    assert condition(app, "Ready") == ("True", "Deployed", "1/1 replicas ready")
    await certified.assert_settled()


async def test_certificate_that_fails_is_the_last_cause_told(certified: Bench) -> None:
    """After the host that went to somebody else; what serves is degraded."""
    await certified.create("first", host="b.example.com")
    await certified.create(host=HOST, hosts=["b.example.com"])
    await certified.reconcile("first")
    await certified.reconcile()
    await certified.play()
    await begin(certified)
    await tell(certified, ready=False, lastFailureTime="2026-01-31T12:00:00Z")

    app = await certified.reconcile()

    status, reason, message = condition(app, "Ready")
    replicas, lost, failed = message.split("; ", 2)
    assert (status, reason, replicas) == ("True", "Deployed", "1/1 replicas ready")
    assert lost.startswith("host 'b.example.com' belongs to App")
    assert failed.startswith(f"the certificate of host {HOST!r} could not be made;")
    assert failed.endswith("the order is invalid")
    assert condition(app, "Certified")[:2] == ("False", "CertificateFailed")
    await certified.change(hosts=None)
    app = await certified.reconcile()
    assert condition(app, "Degraded")[:2] == ("True", "CertificateFailed")
    await certified.assert_settled()


async def test_certificates_go_after_the_routes_and_before_what_serves(certified: Bench) -> None:
    """One at a time; what was not made for the App's route stays, whatever its labels say."""
    app = await certified.create(host=HOST)
    await certified.reconcile()
    await begin(certified)
    labels = {names.APP_LABEL: "web", names.APP_UID_LABEL: app["metadata"]["uid"]}
    metadata = {"name": "foreign", "namespace": certified.namespace, "labels": labels}
    foreign = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata}
    await certified.kube.create(foreign, field_manager="test")
    await certified.delete_app()

    left = []
    for kind in (kinds.INGRESS, kinds.CERTIFICATE, kinds.DEPLOYMENT):
        await certified.controller.reconcile((certified.namespace, "web"))
        await certified.gone(kind, "web-tls" if kind is kinds.CERTIFICATE else "web")
        left.append(await there(certified))

    assert left == [["Certificate", "Deployment"], ["Deployment"], []]
    assert await certified.find(kinds.CERTIFICATE, "foreign") is not None


async def there(bench: Bench) -> list[str]:
    """What of the App is left."""
    found = {
        "Ingress": await bench.find(kinds.INGRESS),
        "Certificate": await bench.find(kinds.CERTIFICATE, "web-tls"),
        "Deployment": await bench.find(kinds.DEPLOYMENT),
    }
    return [kind for kind, each in found.items() if each is not None]


async def test_platform_without_an_issuer_asks_for_none(
    kube: client.Client, namespace: str
) -> None:
    """Its edge has certificates of its own, and nothing is said of them."""
    async with make_bench(kube, namespace, namespace) as bench:
        await bench.create(host=HOST)
        app = await bench.reconcile()

    route = await kube.get(kinds.INGRESS, "web", namespace)
    assert "tls" not in route["spec"]
    assert "cert-manager.io/cluster-issuer" not in route["metadata"]["annotations"]
    assert "Certified" not in {each["type"] for each in app["status"]["conditions"]}
