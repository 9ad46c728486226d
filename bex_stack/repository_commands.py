"""`bex repos`: repositories that this host serves to its own stack."""

from pathlib import Path
from typing import Annotated

import typer

from bex_stack import options, printing

_HELP = "Repositories that this host serves to the stack's builds."


def register(app: typer.Typer) -> None:
    """Add the group to *app*."""
    group = typer.Typer(no_args_is_help=True, help=_HELP)
    group.command("serve")(options.of_stack(serve))
    group.callback()(_group)
    app.add_typer(group, name="repos")


def _group() -> None:
    """Repositories that this host serves to the stack's builds."""


def serve(
    choice: options.Choice,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the repository.")],
    source: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Its first files.", file_okay=False)
    ],
) -> None:
    """Serve a repository over https to builds, and say where to push to. The stack has to be up."""
    from bex_stack.embedded import repositories

    target = choice.read_settings()
    bare = repositories.ensure(target.instance, name, source.resolve())
    out = printing.out()
    out.print(f"spec.repo: {repositories.url(target.instance, name)}", soft_wrap=True)
    out.print(f"to change it: git clone {bare}, commit, git push", soft_wrap=True)
