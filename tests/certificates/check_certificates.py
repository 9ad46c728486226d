"""Certificates of hosts with cert-manager's own controllers and the authority of the stack `local`.

Not part of the suite, for building cert-manager takes minutes: `make check-certificates`. Its
controllers run as a process beside a real API server, with its own definitions.
"""

import base64
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from bex_operator.kube import client, kinds
from components.manifests import charts, issuers
from tests.support import cluster_api as modules
from tests.support import waiting
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import Bench, Object, condition, kube, make_bench, namespace

__all__ = ["kube", "namespace"]

MODULE = "github.com/cert-manager/cert-manager"
FOLDER = Path(__file__).parents[2] / "tools" / "cert-manager"
HOST, OTHER = "web.example.com", "b.example.com"


@pytest.fixture(scope="module")
async def definitions(kube: client.Client) -> AsyncIterator[None]:
    """Cert-manager's kinds as its module defines them."""
    folder = modules.module_folder(MODULE, FOLDER) / "deploy/crds"
    found = [
        each
        for file in sorted(folder.glob("*.yaml"))
        for each in yaml.safe_load_all(file.read_text())
    ]
    async with modules.loaded(kube, found):
        yield


@pytest.fixture(scope="module")
def controllers(
    api_server: ApiServer, definitions: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Cert-manager's controllers that run, and their log."""
    log = tmp_path_factory.mktemp("cert-manager") / "log"
    command = ["setpriv", "--pdeathsig", "KILL", os.environ["CERT_MANAGER"]]
    command += [f"--kubeconfig={api_server.kubeconfig}", "--namespace=cert-manager"]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        yield log
        process.terminate()


@pytest.fixture(scope="module")
async def authority(kube: client.Client, controllers: Path) -> x509.Certificate:
    """The authority of the stack `local`, made by cert-manager from the program's objects."""
    for name in ("cert-manager", charts.EDGE_NAMESPACE):
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await kube.apply(made, field_manager="test")
    for manifest in issuers.local_authority(["*.localhost"]):
        await kube.apply(manifest, field_manager="test")
    secret = await _secret(kube, issuers.AUTHORITY, "cert-manager")
    return _certificate(secret)


@pytest.fixture
async def bench(
    kube: client.Client, namespace: str, authority: x509.Certificate
) -> AsyncIterator[Bench]:
    """An operator that is told that authority."""
    async with make_bench(kube, namespace, namespace, issuer=issuers.AUTHORITY) as made:
        yield made


async def test_edge_has_a_certificate_of_the_authority(
    kube: client.Client, authority: x509.Certificate
) -> None:
    """The one it shows for hosts without their own."""
    found = await _secret(kube, charts.DEFAULT_CERTIFICATE, charts.EDGE_NAMESPACE)

    _certificate(found).verify_directly_issued_by(authority)
    assert _names(_certificate(found)) == ["*.localhost"]


async def test_every_host_gets_a_certificate_and_the_app_says_so(
    bench: Bench, authority: x509.Certificate
) -> None:
    """A Secret for each, signed by the authority; Certified when both are there."""
    await bench.create(host=HOST, hosts=[OTHER])
    app = await _is_certified(bench)

    assert condition(app, "Certified") == ("True", "Certified", "every host has its certificate")
    for name, host in (("web-tls", HOST), (f"web-tls-{OTHER}", OTHER)):
        found = _certificate(await _secret(bench.kube, name, bench.namespace))
        found.verify_directly_issued_by(authority)
        assert _names(found) == [host]
    await bench.settle_caches()
    await bench.assert_settled()


async def test_host_that_is_given_up_loses_its_certificate(bench: Bench) -> None:
    """The other's stays as it is."""
    await bench.create(host=HOST, hosts=[OTHER])
    await _is_certified(bench)
    before = await _secret(bench.kube, "web-tls", bench.namespace)

    await bench.change(hosts=None)
    await bench.reconcile()
    await bench.gone(kinds.CERTIFICATE, f"web-tls-{OTHER}")

    assert condition(await _is_certified(bench), "Certified")[0] == "True"
    assert await _secret(bench.kube, "web-tls", bench.namespace) == before


async def test_host_that_changes_is_certified_by_its_new_certificate(bench: Bench) -> None:
    """What was good for the name before does not count, at no moment."""
    await bench.create(host=HOST)
    await _is_certified(bench)
    for number in range(5):
        await bench.change(host=f"new-{number}.example.com")

        async def is_certified() -> bool:
            return condition(await bench.reconcile(), "Certified")[0] == "True"

        await waiting.until(is_certified, "the new host has its certificate")
        found = await bench.kube.get(kinds.SECRET, "web-tls", bench.namespace)
        assert _names(_certificate(found)) == [f"new-{number}.example.com"]


async def test_deleted_app_takes_its_certificates_along(bench: Bench) -> None:
    """After its routes; cert-manager makes none anew."""
    await bench.create(host=HOST)
    await _is_certified(bench)
    await bench.delete_app()

    async def is_gone() -> bool:
        await bench.controller.reconcile((bench.namespace, "web"))
        return await bench.find(kinds.APP) is None

    await waiting.until(is_gone, "the App is gone")
    left = await bench.kube.list(kinds.CERTIFICATE, bench.namespace)

    assert left.items == []


async def _is_certified(bench: Bench) -> Object:
    """Reconcile and play the pods until every host has its certificate."""
    await bench.reconcile()
    await bench.play()

    async def holds() -> bool:
        await bench.settle_caches()
        return condition(await bench.reconcile(), "Certified")[0] == "True"

    await waiting.until(holds, "every host has its certificate")
    return await bench.reconcile()


async def _secret(kube: client.Client, name: str, where: str) -> Object:
    """Wait for a certificate and read its Secret."""

    async def is_ready() -> bool:
        found = await kube.list(kinds.CERTIFICATE, where, fields=f"metadata.name={name}")
        told = [each for one in found.items for each in one.get("status", {}).get("conditions", [])]
        return any(each["type"] == "Ready" and each["status"] == "True" for each in told)

    await waiting.until(is_ready, f"certificate {where}/{name} is ready")
    return await kube.get(kinds.SECRET, name, where)


def _certificate(secret: Object) -> x509.Certificate:
    return x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))


def _names(found: x509.Certificate) -> list[str]:
    extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return list(extension.value.get_values_for_type(x509.DNSName))
