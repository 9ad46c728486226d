"""`bex images`: what the stack's registry holds beside what builds push, and what it may lose."""

from typing import Annotated

import typer

from bex_stack import app_access, options, printing

_HELP = "The registry of the stack: base images, and room."
_NAMES = "debian, golang, node, python"


def register(app: typer.Typer) -> None:
    """Add the group to *app*."""
    group = typer.Typer(
        no_args_is_help=True, help="The registry of the stack: base images, and room."
    )
    group.command("seed")(options.of_stack(seed))
    group.command("collect")(options.of_stack(collect))
    group.command("builder")(builder)
    group.callback()(_group)
    app.add_typer(group, name="images")


def _group() -> None:
    """The registry of the stack: base images, and room."""


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


def builder(
    registry: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where you may push.")],
    known_as: Annotated[
        str, typer.Option("--known-as", help="What machines call that registry.")
    ] = "localhost:5050",
) -> None:
    """Make what builds run and push it, for stacks of other machines; print their settings."""
    from bex_stack.embedded import builder_image, builds

    pushed = builds.push_images(registry)
    for key, image in (("builder", builder_image.STEPS), ("scanner", builder_image.SCANNER)):
        name = f"{known_as}/{image.repository}@{pushed[image.name]}"
        printing.out().print(f"bex:{key}Image: {name}", soft_wrap=True)


def collect(
    choice: options.Choice,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    output_json: options.Json = False,
) -> None:
    """Let go of images that no App, release, build or pod can need, as happens every hour."""
    from bex_stack import image_room

    target = choice.read()
    found = app_access.run(image_room.collect(target, dry_run=dry_run))
    if output_json:
        printing.print_json(found.as_dict())
    else:
        printing.out().print(image_room.render(found), soft_wrap=True)
