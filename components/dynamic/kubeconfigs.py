"""Kubeconfigs that exist only once something runs: proven, private, replaced in one step."""

import base64
import ipaddress
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi import dynamic

from components.dynamic import programs, resources

SECRET_SECONDS = 900
READY_SECONDS = 900
CALL_SECONDS = 60


class AppKubeconfigProvider(resources.Provider):
    """The kubeconfig that Cluster API makes for an app cluster."""

    keys = ("file", "load_balancer", "infra_kubeconfig")
    fixed = ("cluster", "namespace")

    def identifier(self, props: resources.Inputs) -> str:
        """One per app cluster."""
        return f"{props['namespace']}/{props['cluster']}"

    def ensure(self, props: resources.Inputs) -> dict[str, Any]:
        """Wait for it, let it name a server that this host reaches, prove it, write it."""
        with programs.private_file(str(props["infra_kubeconfig"]), "kubeconfig") as infra:
            text = programs.wait(
                f"the kubeconfig of cluster {props['cluster']}",
                lambda: _secret(infra, str(props["namespace"]), str(props["cluster"])),
                timeout_seconds=SECRET_SECONDS,
            )
        if balancer := str(props["load_balancer"]):
            text = with_server(text, f"https://127.0.0.1:{published_port(balancer)}")
        programs.wait(
            f"the API server of cluster {props['cluster']}",
            lambda: is_ready(text),
            timeout_seconds=READY_SECONDS,
        )
        if props["file"]:
            write(Path(str(props["file"])), text)
        return {"kubeconfig": text, "address": _control_plane_address(text)}

    def remove(self, props: resources.Inputs) -> None:
        """Remove the file; the cluster is not this resource's."""
        if props["file"]:
            Path(str(props["file"])).unlink(missing_ok=True)


class AppKubeconfig(dynamic.Resource, module="bex", name="AppKubeconfig"):
    """`kubeconfig` (secret) and `address`, a control-plane machine's, of an app cluster."""

    kubeconfig: pulumi.Output[str]
    address: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        cluster: str,
        namespace: str,
        infra_kubeconfig: pulumi.Input[str],
        load_balancer: str,
        file: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """*load_balancer*: its container, when only a published port leads to the API server."""
        inputs = {
            "cluster": cluster,
            "namespace": namespace,
            "infra_kubeconfig": pulumi.Output.secret(infra_kubeconfig),
            "load_balancer": load_balancer,
            "file": file,
            "kubeconfig": None,
            "address": None,
        }
        hidden = pulumi.ResourceOptions(additional_secret_outputs=["kubeconfig"])
        super().__init__(
            AppKubeconfigProvider(), name, inputs, pulumi.ResourceOptions.merge(opts, hidden)
        )


class RemoteKubeconfigProvider(resources.Provider):
    """The kubeconfig of a server's k3s, fetched by SSH."""

    keys = ("key_file", "known_hosts")
    fixed = ("server", "address")

    def identifier(self, props: resources.Inputs) -> str:
        """One per server; a new server is a new resource."""
        return f"{props['server']}"

    def ensure(self, props: resources.Inputs) -> dict[str, Any]:
        """Wait until the server has it, and let it name the server's public address."""
        address = str(ipaddress.ip_address(str(props["address"])))
        known = Path(str(props["known_hosts"])).expanduser()
        known.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = ["ssh", "-i", str(Path(str(props["key_file"])).expanduser())]
        for option in (
            "BatchMode=yes",
            "ConnectTimeout=10",
            f"UserKnownHostsFile={known}",
            # The first contact decides; from then on another key is refused.
            "StrictHostKeyChecking=accept-new",
        ):
            command += ["-o", option]
        command += [f"root@{address}", "cat /etc/rancher/k3s/k3s.yaml"]
        text = programs.wait(
            f"k3s on {address}",
            lambda: programs.run(command, timeout_seconds=CALL_SECONDS),
            timeout_seconds=READY_SECONDS,
            pause_seconds=5,
        )
        text = with_server(text, f"https://{address}:6443")
        programs.wait(
            f"the API server on {address}", lambda: is_ready(text), timeout_seconds=READY_SECONDS
        )
        return {"kubeconfig": text}


class RemoteKubeconfig(dynamic.Resource, module="bex", name="RemoteKubeconfig"):
    """`kubeconfig` (secret) of the cluster on a server."""

    kubeconfig: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        server: pulumi.Input[str],
        address: pulumi.Input[str],
        key_file: str,
        known_hosts: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "server": server,
            "address": address,
            "key_file": key_file,
            "known_hosts": known_hosts,
            "kubeconfig": None,
        }
        hidden = pulumi.ResourceOptions(additional_secret_outputs=["kubeconfig"])
        super().__init__(
            RemoteKubeconfigProvider(), name, inputs, pulumi.ResourceOptions.merge(opts, hidden)
        )


def with_server(text: str, url: str) -> str:
    """Return the kubeconfig *text* with another server.

    Raises:
        ProgramError: it would not check the server's certificate.
    """
    config = yaml.safe_load(text)
    for entry in config["clusters"]:
        cluster = entry["cluster"]
        if cluster.get("insecure-skip-tls-verify") or "certificate-authority-data" not in cluster:
            raise programs.ProgramError("the kubeconfig does not check its server; refused")
        cluster["server"] = url
    return yaml.safe_dump(config, sort_keys=True)


def is_ready(text: str) -> str | None:
    """Ask `/readyz` with the kubeconfig's own certificates; None while there is no good answer."""
    config = yaml.safe_load(text)
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    pair = base64.b64decode(user["client-certificate-data"]).decode()
    pair += base64.b64decode(user["client-key-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with programs.private_file(pair, "client.pem") as file:
        context.load_cert_chain(file)
    try:
        with urllib.request.urlopen(  # noqa: S310 - https, with the cluster's own authority
            f"{cluster['server']}/readyz", context=context, timeout=10
        ) as answer:
            return "ready" if answer.status == 200 else None
    except (urllib.error.URLError, OSError):
        return None


def write(file: Path, text: str) -> None:
    """Replace *file* in one step by one that only this user reads."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(file)


def published_port(container: str) -> int:
    """Return the port of this host that leads to a load balancer's 6443."""
    told = programs.run(["docker", "port", container, "6443/tcp"], timeout_seconds=CALL_SECONDS)
    return int(told.splitlines()[0].rpartition(":")[2])


def _secret(infra: Path, namespace: str, cluster: str) -> str | None:
    command = ["kubectl", "--kubeconfig", str(infra), "-n", namespace, "get", "secret"]
    command += [f"{cluster}-kubeconfig", "--ignore-not-found", "-o", "json"]
    told = programs.run(command, timeout_seconds=CALL_SECONDS)
    return base64.b64decode(json.loads(told)["data"]["value"]).decode() if told.strip() else None


def _control_plane_address(text: str) -> str:
    with programs.private_file(text, "kubeconfig") as file:
        return programs.wait(
            "a control-plane node",
            lambda: _first_address(str(file)),
            timeout_seconds=READY_SECONDS,
        )


def _first_address(kubeconfig: str) -> str | None:
    command = ["kubectl", "--kubeconfig", kubeconfig, "get", "nodes", "-o", "json"]
    command += ["-l", "node-role.kubernetes.io/control-plane"]
    nodes = json.loads(programs.run(command, timeout_seconds=CALL_SECONDS))["items"]
    addresses = [
        each["address"]
        for node in nodes
        for each in node["status"].get("addresses", [])
        if each["type"] == "InternalIP"
    ]
    return min(addresses, default=None)
