"""The OCI registry Zot: a container beside the machines, or a pod in the cluster."""

import hashlib
from dataclasses import dataclass

import pulumi

from components import objects
from components.manifests import zot

CONTAINER = "bex-zot"
NETWORK = "kind"
"""Docker network that kind makes and the machines are on."""
MACHINE_URL = f"http://{CONTAINER}:{zot.PORT}"
"""Where a machine reaches the container, by Docker's own DNS."""


@dataclass(frozen=True, slots=True)
class RegistryArgs:
    """What both forms need."""

    image: str
    htpasswd: pulumi.Input[str]
    """One line, `USER:BCRYPT`, of who may push."""
    port: int = 0
    """Port on 127.0.0.1, for the container."""
    storage_gib: int = 100
    """Size of the volume, for the pod."""


def endpoint(port: int) -> str:
    """Name the container's registry as this host reaches it: HOST:PORT."""
    return f"localhost:{port}"


class LocalRegistry(pulumi.ComponentResource):
    """Zot as the container `bex-zot` with a volume, on kind's network."""

    endpoint: str
    """HOST:PORT on this host."""

    def __init__(
        self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:LocalRegistry", name, None, opts)
        import pulumi_docker as docker

        child = pulumi.ResourceOptions(parent=self)
        self.endpoint = endpoint(args.port)
        volume = docker.Volume(f"{name}-data", name=f"{CONTAINER}-data", opts=child)
        image = docker.RemoteImage(f"{name}-image", name=args.image, keep_locally=True, opts=child)
        digest = hashlib.sha256(zot.configuration_text().encode()).hexdigest()
        docker.Container(
            f"{name}-zot",
            name=CONTAINER,
            image=image.image_id,
            command=["serve", zot.CONFIG],
            restart="unless-stopped",
            ports=[{"internal": zot.PORT, "external": args.port, "ip": "127.0.0.1"}],
            networks_advanced=[{"name": NETWORK}],
            volumes=[{"volume_name": volume.name, "container_path": zot.ROOT}],
            uploads=[
                {"file": zot.CONFIG, "content": zot.configuration_text()},
                {"file": zot.HTPASSWD, "content": args.htpasswd},
            ],
            # Zot reads its configuration only when it starts.
            labels=[{"label": "bex.co/configuration", "value": digest}],
            opts=child,
        )
        self.register_outputs({"endpoint": self.endpoint})


class ClusterRegistry(pulumi.ComponentResource):
    """Zot as a StatefulSet, which every machine reaches on its own node port."""

    endpoint: str
    """HOST:PORT inside the cluster."""

    def __init__(
        self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:ClusterRegistry", name, None, opts)
        self.endpoint = f"zot.{zot.NAMESPACE}.svc:{zot.PORT}"
        manifests = zot.render(args.image, args.htpasswd, storage_gib=args.storage_gib)
        objects.register_all(name, manifests, pulumi.ResourceOptions(parent=self))
        self.register_outputs({"endpoint": self.endpoint})
