"""A kind cluster: Kubernetes in one Docker container, here for Cluster API's own use."""

import copy
import json
import os
from typing import Any

import pulumi
from pulumi import dynamic

from components.dynamic import programs, resources

CREATE_SECONDS = 600
CALL_SECONDS = 60


SOCKET = "/var/run/docker.sock"
NETWORK = "kind"
"""Docker network that kind makes and leaves behind."""


def configuration(cni: str) -> dict[str, Any]:
    """Render kind's configuration: the node sees this host's Docker, to make machines with it."""
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"disableDefaultCNI": cni == "none", "apiServerAddress": "127.0.0.1"},
        "kubeadmConfigPatches": [
            # Docker hosts with cgroup v1 are still about.
            "kind: KubeletConfiguration\nfailCgroupV1: false\n"
        ],
        "nodes": [
            {
                "role": "control-plane",
                "extraMounts": [{"hostPath": SOCKET, "containerPath": SOCKET}],
            }
        ],
    }


def on_docker(configuration: dict[str, Any], docker_host: str) -> dict[str, Any]:
    """Return *configuration* for the Docker behind DOCKER_HOST: a socket may lie elsewhere.

    No input of the resource: another shell's Docker must not replace the cluster.
    """
    if not docker_host.startswith("unix://"):
        return configuration
    made = copy.deepcopy(configuration)
    for node in made["nodes"]:
        for mount in node["extraMounts"]:
            if mount["hostPath"] == SOCKET:
                mount["hostPath"] = docker_host.removeprefix("unix://")
    return made


class KindProvider(resources.Provider):
    """One kind cluster by name."""

    fixed = ("cluster", "image", "configuration")

    def identifier(self, props: resources.Inputs) -> str:
        """Its name is unique on a Docker host."""
        return str(props["cluster"])

    def ensure(self, props: resources.Inputs) -> dict[str, Any]:
        """Create it unless it is there, and return its kubeconfig."""
        name = str(props["cluster"])
        if name not in programs.run(["kind", "get", "clusters"], timeout_seconds=CALL_SECONDS):
            self._create(name, props)
        text = programs.run(
            ["kind", "get", "kubeconfig", "--name", name], timeout_seconds=CALL_SECONDS
        )
        return {"kubeconfig": text}

    def _create(self, name: str, props: resources.Inputs) -> None:
        # kind merges into a kubeconfig unless it is given one; the user's own is left alone.
        wanted = on_docker(props["configuration"], os.environ.get("DOCKER_HOST", ""))
        with (
            programs.private_file(json.dumps(wanted), "kind.json") as config,
            programs.private_file("", "kubeconfig") as kubeconfig,
        ):
            command = ["kind", "create", "cluster", "--name", name, "--image", str(props["image"])]
            command += ["--config", str(config), "--kubeconfig", str(kubeconfig)]
            programs.run(command, timeout_seconds=CREATE_SECONDS)

    def read(self, id_: str, props: dict[str, Any]) -> dynamic.ReadResult:
        """A cluster that somebody deleted is gone."""
        found = programs.run(["kind", "get", "clusters"], timeout_seconds=CALL_SECONDS)
        return dynamic.ReadResult(id_ if id_ in found.split() else "", props)

    def remove(self, props: resources.Inputs) -> None:
        """Delete the container, and the network once nobody is on it."""
        with programs.private_file("", "kubeconfig") as kubeconfig:
            command = ["kind", "delete", "cluster", "--name", str(props["cluster"])]
            command += ["--kubeconfig", str(kubeconfig)]
            programs.run(command, timeout_seconds=CREATE_SECONDS)
        _remove_network()


def _remove_network() -> None:
    """Remove what kind leaves behind; another cluster, or a container of somebody's, keeps it."""
    listed = ["docker", "network", "ls", "--quiet", "--filter", f"name=^{NETWORK}$"]
    if not programs.run(listed, timeout_seconds=CALL_SECONDS).strip():
        return
    asked = ["docker", "network", "inspect", NETWORK, "--format", "{{len .Containers}}"]
    if programs.run(asked, timeout_seconds=CALL_SECONDS).strip() == "0":
        programs.run(["docker", "network", "rm", NETWORK], timeout_seconds=CALL_SECONDS)


class KindCluster(dynamic.Resource, module="bex", name="KindCluster"):
    """A kind cluster; `kubeconfig` is secret."""

    kubeconfig: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        cluster: str,
        image: str,
        configuration: dict[str, Any],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "cluster": cluster,
            "image": image,
            "configuration": configuration,
            "kubeconfig": None,
        }
        hidden = pulumi.ResourceOptions(additional_secret_outputs=["kubeconfig"])
        super().__init__(KindProvider(), name, inputs, pulumi.ResourceOptions.merge(opts, hidden))
