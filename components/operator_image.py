"""The operator's image, built from this project and pushed to the stack's registry."""

from dataclasses import dataclass

import pulumi

from components.manifests import registries, zot

REPOSITORY = "bex/operator"


@dataclass(frozen=True, slots=True)
class OperatorImageArgs:
    """What is built, and where it goes."""

    context: str
    """Folder of the project."""
    registry: str
    """HOST:PORT that this host pushes to."""
    password: pulumi.Input[str]
    build_image: str
    """What the image is made in."""
    runtime_image: str
    """What it stands on."""


class OperatorImage(pulumi.ComponentResource):
    """An image by digest; every machine pulls it from the registry, new ones too."""

    reference: pulumi.Output[str]
    """How a pod names it."""

    def __init__(
        self, name: str, args: OperatorImageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:OperatorImage", name, None, opts)
        import pulumi_docker as docker

        image = docker.Image(
            f"{name}-image",
            image_name=f"{args.registry}/{REPOSITORY}:latest",
            build={
                "context": args.context,
                "dockerfile": f"{args.context}/operator/Dockerfile",
                "args": {"BUILD": args.build_image, "RUNTIME": args.runtime_image},
            },
            registry={
                "server": args.registry,
                "username": zot.PUSHER,
                "password": pulumi.Output.secret(args.password),
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.reference = image.repo_digest.apply(_as_machines_know_it)
        self.register_outputs({"reference": self.reference})


def _as_machines_know_it(digest: str) -> str:
    """Machines call our registry by one name, whatever its port on this host."""
    return f"{registries.KNOWN_AS}/{digest.partition('/')[2]}"
