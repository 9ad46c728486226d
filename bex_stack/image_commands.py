"""`bex images`: base images for builds on a host without an image registry in reach."""

from typing import Annotated

import typer

from bex_stack import options, printing

_NAMES = "debian, golang, node, python"


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
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="debian golang node python")
    ],
    anew: Annotated[bool, typer.Option("--anew", help="Take today's packages.")] = False,
) -> None:
    """Make base images from this host's packages and push them under the names of Dockerfiles."""
    from bex_stack.embedded import base_images, registry, toolchain

    target = choice.read_settings()
    tools = toolchain.ensure(["crane"])
    endpoint = registry.endpoint(target.instance)
    for place, name in enumerate(names):
        made = base_images.seed(
            name,
            endpoint,
            toolchain=tools,
            anew=anew and place == 0,
            tell=printing.out().print,
        )
        shown = " ".join(made.tags)
        printing.out().print(f"docker.io/library/{name} {made.digest}: {shown}", soft_wrap=True)
