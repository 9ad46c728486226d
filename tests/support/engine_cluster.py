"""Programs of Kubernetes objects, and the API server that the engine brings them up on."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bex_operator.kube import client as clients
from bex_operator.kube import errors as kube_errors
from bex_operator.kube import kinds
from tests.support.api_server import ApiServer
from tests.support.engine_project import Project
from tests.support.waiting import wait_until

HEAD = """
from pathlib import Path
import pulumi_kubernetes as k8s
from pulumi import ResourceOptions as Opts
CustomResource = k8s.apiextensions.CustomResource

def config_map(name, data, opts=None, **metadata):
    return k8s.core.v1.ConfigMap(
        name, metadata={"name": name, "namespace": "default", **metadata}, data=data, opts=opts)
"""
MUTABLE = """
mutable = Opts(provider=k8s.Provider("cluster", enable_config_map_mutable=True))
"""
WIDGETS = """
anything = {"type": "object", "x_kubernetes_preserve_unknown_fields": True}
properties = {"spec": anything, "status": anything}
crd = k8s.apiextensions.v1.CustomResourceDefinition(
    "crd", metadata={"name": "gadgets.test.dev"}, spec={
        "group": "test.dev", "scope": "Namespaced",
        "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget"},
        "versions": [{
            "name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
            "schema": {"open_apiv3_schema": {"type": "object", "properties": properties}}}]})
"""
GADGETS = (
    WIDGETS
    + """
CustomResource(
    "g", api_version="test.dev/v1", kind="Gadget", spec={"size": SIZE}, metadata={
        "name": "g", "namespace": "default",
        # The garbage collector learns of a new kind after up to 30 s only.
        "annotations": {"pulumi.com/deletionPropagationPolicy": "background",
                        "pulumi.com/waitFor": "condition=Ready",
                        "pulumi.com/timeoutSeconds": "99"}},
    opts=Opts(depends_on=[crd]))
"""
)
GADGET = kinds.Kind("test.dev", "v1", "Gadget", "gadgets", True)


class Cluster:
    """Short calls to the API server from a test."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def call(self, action: Callable[[clients.Client], Any]) -> Any:
        """Run one client call to its end."""

        async def run() -> Any:
            async with clients.Client.from_kubeconfig(self.kubeconfig) as client:
                return await action(client)

        return asyncio.run(run())

    def get(self, kind: kinds.Kind, name: str, namespace: str | None = "default") -> Any:
        """Read an object; None when there is none."""
        try:
            return self.call(lambda client: client.get(kind, name, namespace))
        except kube_errors.NotFound:
            return None

    def set_status(self, kind: kinds.Kind, name: str, status: dict[str, Any]) -> None:
        """Write an object's status as its controller would, as soon as the object is there."""
        wait_until(lambda: self.get(kind, name) is not None, f"{kind.kind} {name} is there")
        self.call(
            lambda client: client.patch(
                kind, name, "default", {"status": status}, subresource="status"
            )
        )


@pytest.fixture
def cluster(controllers: ApiServer) -> Cluster:
    """Offer the API server to look at."""
    return Cluster(controllers.kubeconfig)


@pytest.fixture
def project(
    controllers: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """Offer a project whose default provider is the API server; everything is destroyed after."""
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    monkeypatch.setenv("KUBECONFIG", str(controllers.kubeconfig))
    found = Project(tmp_path, head=HEAD)
    yield found
    monkeypatch.setenv("KUBECONFIG", str(controllers.kubeconfig))
    if found.state_file.exists():
        assert not found.engine().destroy().failures
