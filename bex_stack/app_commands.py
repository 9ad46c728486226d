"""`bex`: the commands about one app. Heavy parts are imported by the command that needs them."""

import datetime
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bex_stack import app_access, errors, options, printing

if TYPE_CHECKING:
    from rich import text

Revision = Annotated[
    str | None, typer.Argument(metavar="[rev-N]", help="Which release; the one that serves.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    for command in (
        releases,
        deploys,
        deploy,
        cancel,
        webhook,
        rollback,
        restart,
        suspend,
        resume,
        why,
        logs,
        sbom,
        provenance,
    ):
        app.command()(options.of_stack(command))
    app.command("exec")(options.of_stack(execute))


def releases(
    choice: options.Choice, name: options.AppName, output_json: options.Json = False
) -> None:
    """List an app's releases, newest first: what ran, since when, why, and how it ended."""
    from bex_stack import release_table

    rows = app_access.run(release_table.observe(choice.read(), name)).rows()
    if output_json:
        printing.print_json([row.as_dict() for row in rows])
    else:
        printing.out().print(release_table.render(rows), soft_wrap=True)


def deploy(
    choice: options.Choice,
    name: options.AppName,
    ref: Annotated[
        str | None, typer.Option(help="Branch, tag or commit to deploy instead of the branch.")
    ] = None,
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="Build without layers of earlier builds.")
    ] = False,
) -> None:
    """Look at an app's repository now, and build what it finds; a failed commit once more."""
    from bex_stack import app_builds

    now = datetime.datetime.now(datetime.UTC)
    asked = app_builds.Asked(now, ref, clear_cache)
    _say(name, app_access.run(app_builds.deploy(choice.read_settings(), name, asked)))


def cancel(
    choice: options.Choice,
    name: options.AppName,
    commit: Annotated[
        str | None,
        typer.Argument(metavar="[COMMIT]", help="Whose build; the one that runs, else waits."),
    ] = None,
) -> None:
    """End an app's build that runs or waits; what serves goes on, the commit waits for
    `bex deploy`."""
    from bex_stack import app_builds

    _say(name, app_access.run(app_builds.cancel(choice.read_settings(), name, commit)))


def webhook(
    choice: options.Choice, name: options.AppName, output_json: options.Json = False
) -> None:
    """Print what to enter at GitHub, GitLab or Gitea so that pushes to an app start at once."""
    from bex_stack import app_builds

    told = app_access.run(app_builds.webhook(choice.read_settings(), name))
    if output_json:
        printing.print_json(told)
    else:
        for key, value in told.items():
            printing.out().print(f"{key}: {value}", soft_wrap=True)


def deploys(
    choice: options.Choice,
    name: options.AppName,
    follow: Follow = False,
    output_json: options.Json = False,
) -> None:
    """List an app's deploys: commit, trigger, times, result; with --follow, show the one on its
    way with the build's log until it serves or fails."""
    from bex_stack import deploy_table, deploy_view

    target = choice.read()
    if follow:
        app_access.run(deploy_view.follow(target, name, printing.out()))
    rows = app_access.run(deploy_table.observe(target, name))
    if output_json:
        printing.print_json([row.as_dict() for row in rows])
    else:
        printing.out().print(deploy_table.render(rows), soft_wrap=True)


def rollback(
    choice: options.Choice,
    name: options.AppName,
    revision: Annotated[
        str | None,
        typer.Argument(metavar="[rev-N]", help="Which release; the one that served before."),
    ] = None,
) -> None:
    """Restore an earlier release's image and configuration until the app's program changes."""
    from bex_stack import app_orders

    order = app_orders.roll_back(choice.read(), name, revision, printing.out())
    _say(name, app_access.run(order))


def restart(choice: options.Choice, name: options.AppName) -> None:
    """Replace an app's pods by fresh ones, without a gap."""
    from bex_stack import app_orders

    now = datetime.datetime.now(datetime.UTC)
    _say(name, app_access.run(app_orders.restart(choice.read(), name, printing.out(), now=now)))


def suspend(choice: options.Choice, name: options.AppName) -> None:
    """Park an app: no pods, but its name, addresses and releases stay."""
    from bex_stack import app_orders

    _say(name, app_access.run(app_orders.suspend(choice.read(), name, printing.out())))


def resume(choice: options.Choice, name: options.AppName) -> None:
    """Bring a parked app back."""
    from bex_stack import app_orders

    _say(name, app_access.run(app_orders.resume(choice.read(), name, printing.out())))


def why(choice: options.Choice, name: options.AppName, output_json: options.Json = False) -> None:
    """Say why an app is as it is: from its address down to its pods, with what would mend it."""
    from bex_stack import why_view

    seen = app_access.run(why_view.observe(choice.read(), name))
    chain = why_view.chain(seen)
    if output_json:
        printing.print_json([link.as_dict() for link in chain])
    else:
        printing.out().print(why_view.render(chain), soft_wrap=True)


def logs(
    choice: options.Choice,
    name: Annotated[str | None, typer.Argument(metavar="[APP]", help="Which app.")] = None,
    component: Annotated[
        str | None, typer.Option("--component", "-c", help="Which of the stack's own processes.")
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many.")] = 100,
    follow: Follow = False,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Of the containers before the present ones.")
    ] = False,
    build: Annotated[bool, typer.Option("--build", help="Of its newest build instead.")] = False,
) -> None:
    """Print the log of an app's pods, or of one of the stack's own processes."""
    from bex_stack import app_builds, app_logs, log_files

    if (name is None) == (component is None):
        raise errors.StackError("logs of what? Name an APP, or a process with --component")
    target = choice.read_settings()
    wish = app_logs.Wish(lines=lines, follow=follow, previous=previous)
    if name is not None and build and follow:
        app_access.run(app_builds.follow_log(target, name, _write_line))
    elif name is not None and build:
        sys.stdout.write(app_access.run(app_builds.read_log(target, name)))
    elif name is not None:
        app_access.run(app_logs.show(target, name, wish, _write_line))
    elif component == "operator" and target.embedded.has_operator_pod:
        app_access.run(app_logs.show_operator(target, wish, _write_line))
    elif component is not None:
        for line in log_files.read(target.instance.log_dir, component, lines=lines, follow=follow):
            sys.stdout.write(line)


def sbom(
    choice: options.Choice,
    name: options.AppName,
    revision: Revision = None,
    output_json: options.Json = False,
) -> None:
    """List the packages in the image of an app's release; with --json all of it, as SPDX."""
    from bex_stack import image_evidence as evidence

    read = evidence.read(choice.read(), name, revision, evidence.SBOM)
    statement = app_access.run(read)
    if output_json:
        printing.print_json(statement)
    else:
        found = evidence.packages(statement)
        printing.out().print(evidence.render(found), soft_wrap=True)


def provenance(choice: options.Choice, name: options.AppName, revision: Revision = None) -> None:
    """Print how the image of an app's release was built, as an in-toto statement (SLSA)."""
    from bex_stack import image_evidence as evidence

    read = evidence.read(choice.read(), name, revision, evidence.PROVENANCE)
    printing.print_json(app_access.run(read))


def execute(
    choice: options.Choice,
    name: options.AppName,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What to run.")],
    pod: Annotated[str | None, typer.Option(help="In which pod; the first ready one.")] = None,
) -> None:
    """Run a command in one of an app's containers: bex exec APP -- COMMAND."""
    from bex_stack import app_shell

    target = choice.read_settings()
    chosen = app_access.run(app_shell.choose_pod(target, name, pod))
    raise SystemExit(app_shell.execute(target, chosen, command))


def _write_line(line: "text.Text") -> None:
    printing.out().print(line, soft_wrap=True)


def _say(name: str, said: str) -> None:
    printing.out().print(f"{name}: {said}", soft_wrap=True)
