"""The options that every command about a stack takes, in one place."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bex_stack import targets

DEFAULT_STACK = "embedded"

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AppName = Annotated[str, typer.Argument(metavar="APP", help="Which app.")]

_GIVEN = {
    "stack": (
        Annotated[str, typer.Option("--stack", "-s", help="Which stack.", envvar="BEX_STACK")],
        DEFAULT_STACK,
    ),
    "cwd": (
        Annotated[
            Path, typer.Option("--cwd", "-C", help="Folder of the program.", file_okay=False)
        ],
        Path(),
    ),
    "config_file": (
        Annotated[Path | None, typer.Option(help="Stack file to use, not Pulumi.<stack>.yaml.")],
        None,
    ),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """The stack that a person means."""

    stack: str
    cwd: Path
    config_file: Path | None

    def read(self) -> targets.Target:
        """Read the stack's settings and apps.

        Raises:
            errors.BadSettings, errors.BadApp: what is wrong, all of it, with file and rule.
        """
        return targets.read(self.cwd.resolve(), self.stack, self.config_file)

    def read_settings(self) -> targets.Target:
        """Read the stack's settings only: what needs no app works while an app is broken.

        Raises:
            errors.BadSettings: what is wrong, all of it, with file, key and rule.
        """
        return targets.read_settings(self.cwd.resolve(), self.stack, self.config_file)


def of_stack(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command*, whose first parameter is a `Choice`, the options that make one."""
    own = list(inspect.signature(command).parameters.values())[1:]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        choice = Choice(**{name: given.pop(name) for name in _GIVEN})
        command(choice, **given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    options = [
        inspect.Parameter(name, keyword, default=default, annotation=annotation)
        for name, (annotation, default) in _GIVEN.items()
    ]
    parameters = [*(each.replace(kind=keyword) for each in own), *options]
    # typer reads both; `wraps` has copied those of *command*.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
