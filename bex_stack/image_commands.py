"""`bex images`: base images for builds on a host without an image registry in reach."""

from typing import Annotated

import typer

from bex_stack import options, printing


def register(app: typer.Typer) -> None:
    """Add the group to *app*."""
    group = typer.Typer(no_args_is_help=True, help="Base images for builds.")
    group.command("seed")(options.of_stack(seed))
    group.callback()(_group)
    app.add_typer(group, name="images")


def _group() -> None:
    """Base images for builds."""


def seed(
    choice: options.Choice,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="golang")],
) -> None:
    """Make base images from the pinned toolchains and push them under the names of Dockerfiles."""
    from bex_stack.embedded import base_images, registry, toolchain

    target = choice.read_settings()
    tools = toolchain.ensure(["crane"])
    endpoint = registry.endpoint(target.instance)
    for name in names:
        digest = base_images.seed(name, endpoint, toolchain=tools)
        printing.out().print(f"docker.io/library/{name}:latest {digest}", soft_wrap=True)
