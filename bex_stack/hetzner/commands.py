"""The commands about a stack at Hetzner: `bex preflight`, `bex audit`, and the way to its end."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich import console as consoles

from bex_stack import errors, options, printing, targets
from bex_stack import settings_models as models
from bex_stack.engine import errors as engine_errors

if TYPE_CHECKING:
    from bex_stack.hetzner import draining
    from bex_stack.hetzner.inventory import Inventory


class LeftBehind(errors.StackError):
    """Something of the stack is still at Hetzner; every line has what removes it."""


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command()(options.of_stack(preflight))
    app.command()(options.of_stack(audit))


def preflight(choice: options.Choice, output_json: options.Json = False) -> None:
    """Ask Hetzner what stands in the way of an `up`, and what the stack costs a month."""
    from bex_stack.hetzner import access, guard, report

    target = choice.read_settings()
    wanted = inventory_of(target)
    with access.connect(access.token_of(target)) as connection:
        found = guard.look(wanted, connection)
    if output_json:
        printing.print_json(found.as_dict())
    else:
        console = printing.out()
        _print(console, report.table_of_costs(found.costs))
        _print(console, "\n" + report.table_of_counts(found.counts))
        if found.findings:
            _print(console, "\n" + report.list_findings(found.findings))
    if found.blocking:
        raise guard.NotFit(f"{len(found.blocking)} things stand in the way of an `up`")


def audit(choice: options.Choice, output_json: options.Json = False) -> None:
    """List what of a stack is at Hetzner; after a destroy that must be nothing."""
    from bex_stack.hetzner import access, leaks, report

    target = choice.read_settings()
    wanted = inventory_of(target)
    with access.connect(access.token_of(target)) as connection:
        found = leaks.audit(wanted, connection.things())
    if output_json:
        printing.print_json([each.as_dict() for each in found])
    elif found:
        _print(printing.out(), report.list_leftovers(found))
    certain = sum(each.is_certain for each in found)
    if certain:
        raise LeftBehind(f"{certain} things of stack {target.stack!r} are at Hetzner")
    if not output_json:
        _print(printing.out(), f"nothing of stack {target.stack!r} is at Hetzner")


def destroy(
    target: targets.Target, console: consoles.Console, *, assume_yes: bool, output_json: bool
) -> None:
    """Empty the stack of what only its own controllers can take away; say what comes then.

    Raises:
        engine_errors.NeedsCli: always at the end: the rest is the pulumi CLI's.
    """
    from bex_stack.hetzner import access, drain, draining, report

    wanted = inventory_of(target)
    with access.connect(access.token_of(target)) as connection:
        things = connection.things()
        kubeconfig = target.kubeconfig
        runs = draining.has_machines(wanted, things)
        if runs and not kubeconfig.is_file():
            raise errors.BadSettings(
                f"the app cluster has servers, and its kubeconfig {kubeconfig} is not there: run "
                f"`pulumi up -s {target.stack}` (it writes it), then this again"
            )
        seen = asyncio.run(drain.observe(kubeconfig)) if runs else None
        steps = draining.plan(wanted, things, seen, f"--stack {target.stack}")
        _print(console, report.list_steps(steps))
        if output_json:
            printing.print_json([each.as_dict() for each in steps])
        if any(each.is_ours for each in steps):
            if not assume_yes and not printing.ask("Do what is bex's of this?"):
                raise errors.NotConfirmed("not confirmed; nothing was changed")
            where = kubeconfig if runs else None
            tell = console.print
            asyncio.run(drain.run(steps, where, connection, wanted, tell))
    raise engine_errors.NeedsCli(_rest(steps))


def inventory_of(target: targets.Target) -> "Inventory":
    """List what a stack makes at Hetzner.

    Raises:
        errors.BadSettings: its machines are not there.
    """
    if isinstance(target.settings, models.EmbeddedSettings) or target.settings.provider != "caph":
        raise errors.BadSettings(
            f"{target.file.name}: bex:provider is {target.settings.provider}; this command is "
            "about stacks at Hetzner (caph)"
        )
    from bex_stack import caph_program
    from bex_stack.hetzner import inventory

    return inventory.of(target.settings, target.stack, caph_program.overlay(target.settings))


def _rest(steps: "Sequence[draining.Step]") -> str:
    commands = "\n".join(f"    {each.command}" for each in steps if each.command)
    return f"what is left needs the pulumi CLI; in this order:\n{commands}"


def _print(console: consoles.Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False)
