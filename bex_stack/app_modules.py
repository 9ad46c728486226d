"""Finds the App definitions in `apps/*.py` and refuses what cannot be deployed together."""

import importlib.util
import linecache
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pydantic

from bex_operator import api
from bex_stack import errors


@dataclass(frozen=True, slots=True)
class Definition:
    """One App and the file that defines it."""

    app: api.App
    file: Path


def load(folder: Path) -> tuple[api.App, ...]:
    """Load every App that the modules of *folder* hold at their top level, by name.

    Raises:
        errors.BadApp: naming file, line, field and rule of everything wrong at once; two apps with
            one name or one host are refused too.
    """
    definitions: list[Definition] = []
    problems: list[str] = []
    for file in sorted(folder.glob("[!_]*.py")):
        try:
            definitions += _definitions(file)
        except errors.BadApp as bad:
            problems.append(str(bad))
    problems += _clashes(definitions)
    if problems:
        raise errors.BadApp("\n".join(problems))
    return tuple(sorted((d.app for d in definitions), key=lambda app: app.name))


def _definitions(file: Path) -> Iterator[Definition]:
    module = _run(file)
    seen: set[int] = set()
    for value in vars(module).values():
        for app in value if isinstance(value, list | tuple) else [value]:
            if isinstance(app, api.App) and id(app) not in seen:
                seen.add(id(app))
                yield Definition(app, file)


def _run(file: Path) -> ModuleType:
    """Run a module afresh; a kept one would hide an edit between two runs in one process."""
    name = f"apps.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise errors.BadApp(f"apps/{file.name}: cannot be read as a Python module")
    linecache.checkcache(str(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except pydantic.ValidationError as refused:
        raise errors.BadApp("\n".join(_lines(file, refused))) from refused
    except Exception as failed:
        where = f"apps/{file.name}:{_line_of(file, failed)}"
        raise errors.BadApp(f"{where}: {type(failed).__name__}: {failed}") from failed
    finally:
        sys.modules.pop(name, None)
    return module


def _lines(file: Path, refused: pydantic.ValidationError) -> Iterator[str]:
    line = _line_of(file, refused)
    for error in refused.errors():
        field = ".".join(str(part) for part in error["loc"]) or refused.title
        value = "" if error["type"] == "missing" else f" {error['input']!r}:"
        yield f"apps/{file.name}:{line}: {field}:{value} {error['msg']}"


def _line_of(file: Path, failure: BaseException) -> int:
    """Line of *file* that the failure came through; a syntax error names its own."""
    if isinstance(failure, SyntaxError):
        return failure.lineno or 1
    frames = traceback.extract_tb(failure.__traceback__)
    return next((f.lineno or 1 for f in reversed(frames) if f.filename == str(file)), 1)


def _clashes(definitions: Sequence[Definition]) -> Iterator[str]:
    yield from _twice("name", ((d.app.name, d) for d in definitions))
    yield from _twice("host", ((host, d) for d in definitions for host in api.hosts_of(d.app)))


def _twice(field: str, claims: Iterable[tuple[str, Definition]]) -> Iterator[str]:
    first: dict[str, Definition] = {}
    for value, definition in claims:
        winner = first.setdefault(value, definition)
        if winner is not definition:
            yield (
                f"apps/{definition.file.name}: {field} {value!r} of App"
                f" {definition.app.name!r} is taken by App {winner.app.name!r}"
                f" in apps/{winner.file.name}; each {field} can be used once"
            )
