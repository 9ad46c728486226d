"""How commands speak: to people on a console, to programs in JSON; and how they ask."""

import json
import sys

import typer
from rich import console as consoles
from rich import markup

from bex_stack import errors


def out(*, quiet: bool = False) -> consoles.Console:
    """Standard output for people; with *quiet* they read along on standard error."""
    return consoles.Console(highlight=False, stderr=quiet)


def complain(error: Exception) -> None:
    """Say on standard error what went wrong."""
    console = consoles.Console(highlight=False, stderr=True)
    console.print(f"[red]error:[/red] {markup.escape(str(error))}", soft_wrap=True)


def print_json(value: object) -> None:
    """Write *value* for programs."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def ask(question: str) -> bool:
    """Ask a person.

    Raises:
        errors.NotConfirmed: nobody is there.
    """
    if not sys.stdin.isatty():
        raise errors.NotConfirmed(f"{question} Nobody is there to answer: say --yes")
    return typer.confirm(question)
