"""`bex`: the commands. Each reads what it works on, calls the part that does it, and prints.

Heavy parts are imported by the command that needs them, so that `bex --help` answers at once.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import console as consoles

from bex_stack import errors, exit_codes, targets

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Apps as running services on machines that come and go.",
)
machines_app = typer.Typer(no_args_is_help=True, help="The stack's machines.")
app.add_typer(machines_app, name="machines")

Stack = Annotated[str, typer.Option("--stack", "-s", help="Which stack.", envvar="BEX_STACK")]
Project = Annotated[
    Path, typer.Option("--cwd", "-C", help="Folder of the program.", file_okay=False)
]
ConfigFile = Annotated[
    Path | None, typer.Option(help="Stack file to use instead of Pulumi.<stack>.yaml.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

DEFAULT_STACK = "embedded"
HERE = Path()


def main() -> None:
    """Run a command; turn what went wrong into a message and an exit code."""
    from bex_stack.engine import errors as engine_errors

    try:
        app()
    except (errors.StackError, engine_errors.EngineError) as refused:
        _err().print(f"[red]error:[/red] {_escape(str(refused))}", soft_wrap=True)
        raise SystemExit(exit_codes.of(refused)) from refused
    except KeyboardInterrupt as stopped:
        raise SystemExit(exit_codes.INTERRUPTED) from stopped


@app.command()
def setup(yes: Yes = False) -> None:
    """Check this host, install what Debian has of what it lacks, build every program."""
    from bex_stack import hosts

    hosts.prepare_everything(_out(), assume_yes=yes)


@app.command()
def up(
    stack: Stack = DEFAULT_STACK,
    cwd: Project = HERE,
    config_file: ConfigFile = None,
    yes: Yes = False,
    output_json: Json = False,
) -> None:
    """Bring the stack up to date and wait until its apps answer."""
    from bex_stack import bring_up

    target = targets.read(cwd.resolve(), stack, config_file)
    bring_up.up(target, _out(quiet=output_json), assume_yes=yes, ask=_ask)
    rows = asyncio.run(_app_rows(target))
    if output_json:
        _print_json({"apps": [row.as_dict() for row in rows]})
    else:
        port, authority = target.settings.edge_https_port, target.instance.edge_authority
        _out().print(f"https: port {port}, authority {authority}", soft_wrap=True)
        _print_apps(rows)


@app.command()
def preview(
    stack: Stack = DEFAULT_STACK,
    cwd: Project = HERE,
    config_file: ConfigFile = None,
    expect_no_changes: Annotated[
        bool, typer.Option(help="Exit with 9 if anything would change.")
    ] = False,
    output_json: Json = False,
) -> None:
    """Show what `up` would do; nothing is touched."""
    from bex_stack import bring_up

    target = targets.read(cwd.resolve(), stack, config_file)
    result = bring_up.preview(target, _out(quiet=output_json))
    if output_json:
        _print_json(result.digest)
    if expect_no_changes and result.changed:
        raise errors.ChangesFound("the preview expected no changes and found some")


@app.command()
def destroy(
    stack: Stack = DEFAULT_STACK,
    cwd: Project = HERE,
    config_file: ConfigFile = None,
    yes: Yes = False,
    output_json: Json = False,
) -> None:
    """Take the stack down; nothing but the toolchain's cache is left."""
    from bex_stack import bring_up

    target = targets.read_settings(cwd.resolve(), stack, config_file)
    result = bring_up.destroy(target, _out(quiet=output_json), assume_yes=yes, ask=_ask)
    if output_json:
        _print_json({"changeSummary": dict(result.changes), "seconds": result.seconds})


@app.command()
def refresh(
    stack: Stack = DEFAULT_STACK,
    cwd: Project = HERE,
    config_file: ConfigFile = None,
    yes: Yes = False,
    output_json: Json = False,
) -> None:
    """Read the real state of every resource into the stack's state."""
    from bex_stack import bring_up

    target = targets.read(cwd.resolve(), stack, config_file)
    result = bring_up.refresh(target, _out(quiet=output_json), assume_yes=yes, ask=_ask)
    if output_json:
        _print_json({"changeSummary": dict(result.changes), "seconds": result.seconds})


@app.command()
def outputs(
    stack: Stack = DEFAULT_STACK,
    cwd: Project = HERE,
    config_file: ConfigFile = None,
    show_secrets: Annotated[bool, typer.Option(help="Print secret outputs in clear.")] = False,
    output_json: Json = False,
) -> None:
    """Print the stack's outputs."""
    from bex_stack import bring_up

    target = targets.read_settings(cwd.resolve(), stack, config_file)
    values = bring_up.outputs(target, show_secrets=show_secrets)
    if output_json:
        _print_json(values)
        return
    for key, value in sorted(values.items()):
        _out().print(f"{key}: {_escape(value if isinstance(value, str) else json.dumps(value))}")


@app.command()
def apps(
    stack: Stack = DEFAULT_STACK,
    cwd: Project = HERE,
    config_file: ConfigFile = None,
    output_json: Json = False,
) -> None:
    """List the apps, how they are and where they answer."""
    target = targets.read(cwd.resolve(), stack, config_file)
    rows = asyncio.run(_app_rows(target))
    if output_json:
        _print_json([row.as_dict() for row in rows])
    else:
        _print_apps(rows)


@app.command()
def releases(
    name: Annotated[str, typer.Argument(metavar="APP", help="Which app.")],
    stack: Stack = DEFAULT_STACK,
    cwd: Project = HERE,
    config_file: ConfigFile = None,
    output_json: Json = False,
) -> None:
    """List an app's releases, newest first: what ran, since when, why, and how it ended."""
    from bex_stack import release_table

    target = targets.read(cwd.resolve(), stack, config_file)
    rows = asyncio.run(release_table.observe(target, name)).rows()
    if output_json:
        _print_json([row.as_dict() for row in rows])
    else:
        _out().print(release_table.render(rows), soft_wrap=True)


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(metavar="APP", help="Which app.")],
    revision: Annotated[
        str | None,
        typer.Argument(metavar="[rev-N]", help="Which release; the one that served before."),
    ] = None,
    stack: Stack = DEFAULT_STACK,
    cwd: Project = HERE,
    config_file: ConfigFile = None,
) -> None:
    """Restore an earlier release's image and configuration until the app's program changes."""
    from bex_stack import release_table

    target = targets.read(cwd.resolve(), stack, config_file)
    said = asyncio.run(release_table.roll_back(target, name, revision))
    _out().print(f"{name}: {said}", soft_wrap=True)


@app.command()
def status(
    stack: Stack = DEFAULT_STACK,
    cwd: Project = HERE,
    config_file: ConfigFile = None,
    output_json: Json = False,
) -> None:
    """Draw the machines with their pods, and list the processes that keep them."""
    from bex_stack import status_view

    target = targets.read(cwd.resolve(), stack, config_file)
    seen = asyncio.run(status_view.observe(target))
    if output_json:
        _print_json(seen.as_dict())
    else:
        _out().print(status_view.render(seen))


@app.command()
def logs(
    component: Annotated[str, typer.Option("--component", "-c", help="Which process.")],
    stack: Stack = DEFAULT_STACK,
    cwd: Project = HERE,
    config_file: ConfigFile = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones.")] = False,
) -> None:
    """Print the log of one of the stack's processes."""
    from bex_stack import log_files

    target = targets.read_settings(cwd.resolve(), stack, config_file)
    for line in log_files.read(target.instance.log_dir, component, lines=lines, follow=follow):
        sys.stdout.write(line)


@machines_app.command("scale")
def scale(
    workers: Annotated[int, typer.Argument(min=0, help="How many worker machines.")],
    stack: Stack = DEFAULT_STACK,
    cwd: Project = HERE,
    config_file: ConfigFile = None,
    yes: Yes = False,
) -> None:
    """Set `bex:workers` in the stack file and bring the stack up."""
    from bex_stack import bring_up

    project = cwd.resolve()
    before = targets.read(project, stack, config_file)
    bring_up.scale(before, workers, _out(), assume_yes=yes, ask=_ask)


async def _app_rows(target: targets.Target) -> list[Any]:
    from bex_stack import app_table

    return await app_table.observe(target)


def _print_apps(rows: list[Any]) -> None:
    from bex_stack import app_table

    _out().print(app_table.render(rows), soft_wrap=True)


def _ask(question: str) -> bool:
    if not sys.stdin.isatty():
        raise errors.NotConfirmed(f"{question} Nobody is there to answer: say --yes")
    return typer.confirm(question)


def _out(*, quiet: bool = False) -> consoles.Console:
    """Standard output for people; with *quiet* they read along on standard error."""
    return consoles.Console(highlight=False, stderr=quiet)


def _err() -> consoles.Console:
    return consoles.Console(highlight=False, stderr=True)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def _escape(text: str) -> str:
    from rich import markup

    return markup.escape(text)
