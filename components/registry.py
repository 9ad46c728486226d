"""The OCI registry Zot: a container beside the machines, or a pod in the cluster."""

import hashlib
from dataclasses import dataclass
from typing import Any

import pulumi

from components import objects
from components.manifests import zot

CONTAINER, BUILDS_CONTAINER = "bex-zot", "bex-zot-builds"
NETWORK = "kind"
"""Docker network that kind makes and the machines are on."""
MACHINE_URL = f"http://{CONTAINER}:{zot.PORT}"
"""Where a machine reaches the container, by Docker's own DNS."""
CONTAINER_FOR_BUILDS = f"{BUILDS_CONTAINER}:{zot.BUILDS_PORT}"
"""Where a pod of a build reaches the other one: HOST:PORT."""
CLUSTER_FOR_BUILDS = f"{zot.BUILDS_SERVICE}.{zot.NAMESPACE}.svc:{zot.BUILDS_PORT}"
"""The same inside a cluster."""


@dataclass(frozen=True, slots=True)
class RegistryArgs:
    """What both forms need."""

    image: str
    htpasswd: pulumi.Input[str]
    """Lines `USER:BCRYPT` of who may push, and of machines."""
    signer: pulumi.Input[str]
    """Public key (PEM) that builds' tokens are verified with."""
    port: int = 0
    """Port on 127.0.0.1, for the container."""
    storage_gib: int = 100
    """Size of the volume, for the pod."""


def endpoint(port: int) -> str:
    """Name the container's registry as this host reaches it: HOST:PORT."""
    return f"localhost:{port}"


class LocalRegistry(pulumi.ComponentResource):
    """Zot as two containers with one volume, on kind's network: `bex-zot`, and one for builds."""

    endpoint: str
    """HOST:PORT on this host."""
    builds_address: pulumi.Output[str]
    """Address of the one for builds."""

    def __init__(
        self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:LocalRegistry", name, None, opts)
        import pulumi_docker as docker

        child = pulumi.ResourceOptions(parent=self)
        self.endpoint = endpoint(args.port)
        volume = docker.Volume(f"{name}-data", name=f"{CONTAINER}-data", opts=child)
        image = docker.RemoteImage(f"{name}-image", name=args.image, keep_locally=True, opts=child)

        def run(role: str, container: str, configured: str, **more: Any) -> docker.Container:
            return docker.Container(
                f"{name}-{role}",
                name=container,
                image=image.image_id,
                command=["serve", zot.CONFIG],
                restart="unless-stopped",
                networks_advanced=[{"name": NETWORK}],
                volumes=[{"volume_name": volume.name, "container_path": zot.ROOT}],
                # Zot reads its configuration only when it starts.
                labels=[
                    {
                        "label": "bex.co/configuration",
                        "value": hashlib.sha256(configured.encode()).hexdigest(),
                    }
                ],
                **more,
            )

        own, builds = zot.text(zot.configuration()), zot.text(zot.builds_configuration())
        run(
            "zot",
            CONTAINER,
            own,
            ports=[{"internal": zot.PORT, "external": args.port, "ip": "127.0.0.1"}],
            uploads=[
                {"file": zot.CONFIG, "content": own},
                {"file": zot.HTPASSWD, "content": args.htpasswd},
            ],
            opts=child,
        )
        for_builds = run(
            "zot-builds",
            BUILDS_CONTAINER,
            builds,
            uploads=[
                {"file": zot.CONFIG, "content": builds},
                {"file": zot.SIGNER, "content": args.signer},
            ],
            opts=child,
        )
        self.builds_address = for_builds.network_datas.apply(_address)
        self.register_outputs({"endpoint": self.endpoint})


def _address(networks: Any) -> str:
    """Read a container's address; a preview of one that is not there yet knows none."""
    return str(networks[0].ip_address or "") if networks else ""


class ClusterRegistry(pulumi.ComponentResource):
    """Zot as a StatefulSet, which every machine reaches on its own node port."""

    endpoint: str
    """HOST:PORT inside the cluster."""

    def __init__(
        self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:ClusterRegistry", name, None, opts)
        self.endpoint = f"zot.{zot.NAMESPACE}.svc:{zot.PORT}"
        manifests = zot.render(args.image, args.htpasswd, args.signer, storage_gib=args.storage_gib)
        objects.register_all(name, manifests, pulumi.ResourceOptions(parent=self))
        self.register_outputs({"endpoint": self.endpoint})
