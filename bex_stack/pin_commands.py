"""`bex pins …` and `bex bundle`: what a stack brings from outside, locked and carried along."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bex_stack import errors, options, printing
from bex_stack import settings_models as models

if TYPE_CHECKING:
    from bex_stack import settings_cluster_api as cluster_api

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The bundle's folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    group = typer.Typer(no_args_is_help=True, help="What the stacks bring from outside.")
    group.command()(options.of_stack(lock))
    group.command()(options.of_stack(fetch))
    app.add_typer(group, name="pins")
    app.command()(options.of_stack(bundle))
    app.command("bundle-load")(options.of_stack(bundle_load))


def lock(choice: options.Choice) -> None:
    """Learn the checksums that pins.lock lacks for a stack; look at the difference, then commit."""
    from bex_stack import bundles
    from components import pins

    tell = printing.out().print
    found = bundles.learn(bundles.wanted_by(_stack(choice)), pins.lock(), _crane(), tell)
    pins.write(found)
    tell(f"{pins.LOCK.name}: {len(found.files)} files, {len(found.images)} images")


def fetch(choice: options.Choice) -> None:
    """Bring a stack's pinned files to where the program looks for them."""
    from bex_stack import bundles, cluster_api_program
    from components import pins

    folder = choice.cwd.resolve() / cluster_api_program.PINNED_FOLDER
    files = bundles.wanted_by(_stack(choice)).files
    bundles.fetch(files, folder, pins.lock(), printing.out().print)


def bundle(choice: options.Choice, folder: Folder) -> None:
    """Fetch everything a stack brings from outside into a folder, for `bex:mirror`."""
    from bex_stack import bundles
    from components import pins

    wanted = bundles.wanted_by(_stack(choice))
    bundles.bundle(wanted, folder, pins.lock(), _crane(), printing.out().print)


def bundle_load(
    choice: options.Choice,
    folder: Folder,
    registry: Annotated[str, typer.Argument(metavar="REGISTRY", help="HOST:PORT.")],
) -> None:
    """Push a bundle's images to a registry."""
    from bex_stack import bundles

    wanted = bundles.wanted_by(_stack(choice))
    bundles.load(wanted, folder, registry, _crane(), printing.out().print)


def _stack(choice: options.Choice) -> "cluster_api.CapdSettings | cluster_api.CaphSettings":
    found = choice.read_settings()
    if isinstance(found.settings, models.EmbeddedSettings):
        raise errors.BadSettings(
            f"{found.file.name}: an embedded stack is built from Go modules, whose checksums are "
            "in tools/*/go.sum; it has nothing to lock or to bundle"
        )
    return found.settings


def _crane() -> Path:
    from bex_stack.embedded import toolchain

    return toolchain.ensure(["crane"]).path("crane")
