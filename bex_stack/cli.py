"""`bex`: the commands about a whole stack. Each reads what it works on, calls the part that does
it, and prints. Heavy parts are imported by the command that needs them: `bex --help` is instant.
"""

import asyncio
import gc
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich import markup

from bex_stack import (
    app_commands,
    errors,
    exit_codes,
    image_commands,
    options,
    pin_commands,
    printing,
    repository_commands,
    targets,
)
from bex_stack.hetzner import commands as hetzner

if TYPE_CHECKING:
    from bex_stack import app_table

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Apps as running services on machines that come and go.",
)
machines_app = typer.Typer(no_args_is_help=True, help="The stack's machines.")
app.add_typer(machines_app, name="machines")
dev_app = typer.Typer(no_args_is_help=True, help="For work on bex itself.")
app.add_typer(dev_app, name="dev")


def main() -> None:
    """Run a command; turn what went wrong into a message and an exit code."""
    from bex_stack.engine import errors as engine_errors

    # Of what a command makes almost everything lives to its end: looking for garbage while it
    # grows, and once more at the exit, took a sixth of a command's time.
    gc.set_threshold(100_000, 20, 20)
    try:
        app()
    except (errors.StackError, engine_errors.EngineError) as refused:
        printing.complain(refused)
        raise SystemExit(exit_codes.of(refused)) from refused
    except KeyboardInterrupt as stopped:
        raise SystemExit(exit_codes.INTERRUPTED) from stopped
    finally:
        gc.freeze()


@app.command()
def setup(yes: options.Yes = False) -> None:
    """Check this host, install what Debian has of what it lacks, build every program."""
    from bex_stack import hosts

    hosts.prepare_everything(printing.out(), assume_yes=yes)


@app.command()
@options.of_stack
def up(choice: options.Choice, yes: options.Yes = False, output_json: options.Json = False) -> None:
    """Bring the stack up to date and wait until its apps answer."""
    from bex_stack import bring_up

    target = choice.read()
    bring_up.up(target, printing.out(quiet=output_json), assume_yes=yes, ask=printing.ask)
    rows = _app_rows(target)
    if output_json:
        printing.print_json({"apps": [row.as_dict() for row in rows]})
        return
    if target.is_embedded:
        port, authority = target.embedded.edge_https_port, target.instance.edge_authority
        printing.out().print(f"https: port {port}, authority {authority}", soft_wrap=True)
    _print_apps(rows)


@app.command()
@options.of_stack
def preview(
    choice: options.Choice,
    expect_no_changes: Annotated[
        bool, typer.Option(help="Exit with 9 if anything would change.")
    ] = False,
    output_json: options.Json = False,
) -> None:
    """Show what `up` would do; nothing is touched."""
    from bex_stack import bring_up

    result = bring_up.preview(choice.read(), printing.out(quiet=output_json))
    if output_json:
        printing.print_json(result.digest)
    if expect_no_changes and result.changed:
        raise errors.ChangesFound("the preview expected no changes and found some")


@app.command()
@options.of_stack
def destroy(
    choice: options.Choice, yes: options.Yes = False, output_json: options.Json = False
) -> None:
    """Take the stack down; nothing but the toolchain's cache is left."""
    from bex_stack import bring_up

    console, target = printing.out(quiet=output_json), choice.read_settings()
    if target.settings.provider == "caph":
        hetzner.destroy(target, console, assume_yes=yes, output_json=output_json)
        return
    result = bring_up.destroy(target, console, assume_yes=yes, ask=printing.ask)
    if output_json:
        printing.print_json({"changeSummary": dict(result.changes), "seconds": result.seconds})


@app.command()
@options.of_stack
def refresh(
    choice: options.Choice, yes: options.Yes = False, output_json: options.Json = False
) -> None:
    """Read the real state of every resource into the stack's state."""
    from bex_stack import bring_up

    console = printing.out(quiet=output_json)
    result = bring_up.refresh(choice.read(), console, assume_yes=yes, ask=printing.ask)
    if output_json:
        printing.print_json({"changeSummary": dict(result.changes), "seconds": result.seconds})


@app.command()
@options.of_stack
def outputs(
    choice: options.Choice,
    show_secrets: Annotated[bool, typer.Option(help="Print secret outputs in clear.")] = False,
    output_json: options.Json = False,
) -> None:
    """Print the stack's outputs."""
    from bex_stack import bring_up

    values = bring_up.outputs(choice.read_settings(), show_secrets=show_secrets)
    if output_json:
        printing.print_json(values)
        return
    for key, value in sorted(values.items()):
        shown = value if isinstance(value, str) else json.dumps(value)
        printing.out().print(f"{key}: {markup.escape(shown)}")


@app.command()
@options.of_stack
def apps(choice: options.Choice, output_json: options.Json = False) -> None:
    """List the apps, how they are and where they answer."""
    rows = _app_rows(choice.read())
    if output_json:
        printing.print_json([row.as_dict() for row in rows])
    else:
        _print_apps(rows)


@app.command()
@options.of_stack
def status(choice: options.Choice, output_json: options.Json = False) -> None:
    """Draw the machines with their pods, and list the processes that keep them."""
    from bex_stack import status_view

    seen = asyncio.run(status_view.observe(choice.read()))
    if output_json:
        printing.print_json(seen.as_dict())
    else:
        printing.out().print(status_view.render(seen))


@machines_app.command("scale")
@options.of_stack
def scale(
    choice: options.Choice,
    workers: Annotated[int, typer.Argument(min=0, help="How many worker machines.")],
    yes: options.Yes = False,
) -> None:
    """Set `bex:workers` in the stack file and bring the stack up."""
    from bex_stack import bring_up

    bring_up.scale(choice.read(), workers, printing.out(), assume_yes=yes, ask=printing.ask)


@dev_app.command("operator")
@options.of_stack
def dev_operator(choice: options.Choice) -> None:
    """Run the operator from this checkout in the foreground, anew after every change.

    Meanwhile the stack's own is away; Ctrl-C puts it back. After a kill -9, run and end it again.
    """
    from bex_stack import dev_operator as dev

    dev.run(choice.read_settings(), printing.out())


def _app_rows(target: targets.Target) -> "list[app_table.Row]":
    from bex_stack import app_table

    return asyncio.run(app_table.observe(target))


def _print_apps(rows: "list[app_table.Row]") -> None:
    from bex_stack import app_table

    printing.out().print(app_table.render(rows), soft_wrap=True)


app_commands.register(app)
hetzner.register(app)
pin_commands.register(app)
image_commands.register(app)
repository_commands.register(app)
