"""Cluster API on an infra cluster, by `clusterctl init` with pinned versions from pinned files."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi import dynamic

from components import pins
from components.dynamic import programs, resources

INIT_SECONDS = 900
WAIT_SECONDS = 300
CALL_SECONDS = 60
_GROUP = "clusterctl.cluster.x-k8s.io"
_FLAGS = {
    "CoreProvider": "--core",
    "BootstrapProvider": "--bootstrap",
    "ControlPlaneProvider": "--control-plane",
    "InfrastructureProvider": "--infrastructure",
}


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider of Cluster API's."""

    name: str
    type: str
    version: str
    path: str
    """Its components in a folder of pinned files, laid out as clusterctl's local repositories."""

    @property
    def key(self) -> str:
        """How it is told from the others."""
        return f"{self.type}/{self.name}"


class ClusterctlProvider(resources.Provider):
    """The providers of one infra cluster."""

    keys = ("providers",)
    fixed = ("cluster",)

    def identifier(self, props: resources.Inputs) -> str:
        """One installation per infra cluster."""
        return f"{props['cluster']}-cluster-api"

    def ensure(self, props: resources.Inputs) -> dict[str, Any]:
        """Install what is missing, upgrade what has another version, wait until webhooks serve.

        `clusterctl init` returns before they do; `--wait-providers` asks for their Deployments.
        """
        wanted = [Provider(**each) for each in props["providers"]]
        config = configuration(Path(str(props["folder"])).absolute(), wanted)
        with (
            programs.private_file(str(props["kubeconfig"]), "kubeconfig") as kubeconfig,
            programs.private_file(json.dumps(config), "clusterctl.yaml") as file,
        ):
            found = installed(str(kubeconfig))
            files = ["--kubeconfig", str(kubeconfig), "--config", str(file)]
            missing = [each for each in wanted if each.key not in found]
            older = [each for each in wanted if found.get(each.key, each.version) != each.version]
            if missing:
                self._run(["clusterctl", "init", *options(missing), *files])
            if older:
                self._run(["clusterctl", "upgrade", "apply", *options(older), *files])
        return {"ready": True}

    def _run(self, command: Sequence[str]) -> None:
        # It would look on GitHub for a newer clusterctl; nothing but the pinned files is asked for.
        programs.run(
            [*command, "--wait-providers", f"--wait-provider-timeout={WAIT_SECONDS}"],
            timeout_seconds=INIT_SECONDS,
            env={"CLUSTERCTL_DISABLE_VERSIONCHECK": "true", "CLUSTER_TOPOLOGY": "true"},
        )

    def remove(self, props: resources.Inputs) -> None:
        """Leave it: it goes with its cluster, and an uninstall would orphan machines."""


class ClusterApi(dynamic.Resource, module="bex", name="ClusterApi"):
    """Cluster API and its providers on the infra cluster."""

    ready: pulumi.Output[bool]

    def __init__(
        self,
        name: str,
        *,
        cluster: str,
        kubeconfig: pulumi.Input[str],
        providers: Sequence[Provider],
        folder: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "cluster": cluster,
            "kubeconfig": pulumi.Output.secret(kubeconfig),
            "providers": [dataclasses.asdict(each) for each in providers],
            "folder": folder,
            "ready": None,
        }
        super().__init__(ClusterctlProvider(), name, inputs, opts)


def configuration(folder: Path, providers: Sequence[Provider]) -> dict[str, Any]:
    """Render clusterctl's configuration: local repositories below *folder* and nothing else."""
    return {
        "providers": [
            {"name": each.name, "type": each.type, "url": str(folder / each.path)}
            for each in providers
        ],
        "cert-manager": {
            "url": str(folder / pins.CERT_MANAGER_MANIFEST.name),
            "version": pins.CERT_MANAGER,
            "timeout": f"{WAIT_SECONDS}s",
        },
    }


def installed(kubeconfig: str) -> dict[str, str]:
    """Return the versions of the providers that are there, by `TYPE/NAME`."""
    kubectl = ["kubectl", "--kubeconfig", kubeconfig]
    known = programs.run(
        [*kubectl, "api-resources", "-o", "name", "--api-group", _GROUP],
        timeout_seconds=CALL_SECONDS,
    )
    if not known.strip():
        return {}
    told = programs.run(
        [*kubectl, "get", f"providers.{_GROUP}", "-A", "-o", "json"], timeout_seconds=CALL_SECONDS
    )
    return {
        f"{each['type']}/{each['providerName']}": each["version"]
        for each in json.loads(told)["items"]
    }


def options(providers: Sequence[Provider]) -> list[str]:
    """Name the providers as `clusterctl init` wants them."""
    return [
        word for each in providers for word in (_FLAGS[each.type], f"{each.name}:{each.version}")
    ]
