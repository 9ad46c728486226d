"""Reads and edits stack files (`Pulumi.<stack>.yaml`) without losing their comments."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel import yaml
from ruamel.yaml import error as yaml_errors

from bex_stack import errors


def path_of(project: Path, stack: str, given: Path | None) -> Path:
    """Find the file of *stack*: *given* if there is one, else beside the program.

    Raises:
        errors.BadSettings: there is no such file.
    """
    file = given or project / f"Pulumi.{stack}.yaml"
    if not file.is_file():
        others = ", ".join(sorted(f.name for f in project.glob("Pulumi.*.yaml"))) or "none"
        raise errors.BadSettings(f"stack {stack!r} has no file {file} (stack files here: {others})")
    return file


def read_config(file: Path) -> dict[str, str]:
    """Read the `config:` of a stack file as Pulumi hands it to a program: texts, JSON for the rest.

    Raises:
        errors.BadSettings: the file is no YAML mapping, or `config` is none.
    """
    document = _load(file)
    config = document.get("config") or {}
    if not isinstance(config, Mapping):
        raise errors.BadSettings(f"{file.name}: config is {config!r}; it must be a mapping")
    return {str(key): _text(value) for key, value in config.items()}


def is_sealed(file: Path) -> bool:
    """Say whether the file belongs to one passphrase: the CLI's first run writes its salt there."""
    return bool(_load(file).get("encryptionsalt"))


def set_config(file: Path, key: str, value: Any) -> None:
    """Set one plain value of `config:`, written whole or not at all."""
    document = _load(file)
    document.setdefault("config", {})[key] = value
    text = io.StringIO()
    _yaml().dump(document, text)
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text.getvalue())
    fresh.replace(file)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _load(file: Path) -> dict[str, Any]:
    try:
        document = _yaml().load(file.read_text())
    except yaml_errors.YAMLError as broken:
        raise errors.BadSettings(f"{file.name}: is not YAML: {broken}") from broken
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise errors.BadSettings(f"{file.name}: must be a mapping with the key config")
    return document


def _yaml() -> yaml.YAML:
    tool = yaml.YAML()
    tool.preserve_quotes = True
    tool.width = 120
    return tool
