"""A project's and a stack's files: names, the program's folder, configuration with its secrets."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bex_stack.engine import errors, passphrase

PROJECT_FILE = "Pulumi.yaml"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Project:
    """What Pulumi.yaml says."""

    name: str
    directory: Path
    main: Path
    """The folder or file that is run."""
    config: Mapping[str, Any]

    @property
    def working_directory(self) -> Path:
        """Where its program and its providers run: relative paths mean the same with the CLI."""
        return self.main if self.main.is_dir() else self.main.parent


@dataclass(frozen=True, slots=True)
class StackFile:
    """What Pulumi.<stack>.yaml says; secrets still encrypted."""

    path: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    salt: str = ""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Full configuration as the program sees it: every value is text, objects are JSON text."""

    values: Mapping[str, str]
    secret_keys: frozenset[str]

    def masked(self) -> dict[str, str]:
        """Return the values fit for people's eyes."""
        return {
            key: "[secret]" if key in self.secret_keys else value
            for key, value in sorted(self.values.items())
        }


def load_project(directory: Path) -> Project:
    """Read Pulumi.yaml.

    Raises: ProjectError when it is missing or is not a Python project.
    """
    path = directory / PROJECT_FILE
    document = _read_yaml(path, required=True)
    name = document.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise errors.ProjectError(
            f"{path}: `name` must be 1-100 letters, digits, `-`, `_` or `.`, not {name!r}"
        )
    runtime = document.get("runtime")
    language = runtime.get("name") if isinstance(runtime, dict) else runtime
    if language != "python":
        raise errors.ProjectError(f"{path}: `runtime` must be python, not {language!r}")
    config = _mapping(document, "config", path)
    main = directory / str(document.get("main") or ".")
    return Project(name, directory, main.resolve(), config)


def load_stack(project: Project, stack: str, path: Path | None) -> StackFile:
    """Read the stack's file; only a file named explicitly has to exist.

    Raises: ProjectError for a broken file or one that wants a secrets provider other than a
    passphrase.
    """
    if not _NAME.fullmatch(stack):
        raise errors.ProjectError(
            f"stack name {stack!r} must be 1-100 letters, digits, `-`, `_` or `.`"
        )
    explicit = path is not None
    path = path or project.directory / f"Pulumi.{stack}.yaml"
    document = _read_yaml(path, required=explicit)
    known = {"config", "encryptionsalt", "secretsprovider", "environment", "encryptedkey"}
    for key in document:
        if key not in known:
            raise errors.ProjectError(
                f"{path}: unknown key `{key}`; a stack file holds {', '.join(sorted(known))}"
            )
    provider = document.get("secretsprovider", "passphrase")
    for key in ("environment", "encryptedkey"):
        if document.get(key):
            raise errors.ProjectError(f"{path}: `{key}` needs the pulumi CLI; remove it")
    if provider != "passphrase":
        raise errors.ProjectError(
            f"{path}: `secretsprovider` must be passphrase here, not {provider!r}"
        )
    return StackFile(
        path, _mapping(document, "config", path), str(document.get("encryptionsalt") or "")
    )


def configuration(
    project: Project,
    stack: StackFile,
    overrides: Mapping[str, str],
    crypter: passphrase.Crypter | None,
) -> Configuration:
    """Merge project defaults, the stack's file and overrides, weakest first, and decrypt.

    Raises: ProjectError for a broken value, SecretsError for a secret that does not open.
    """
    plain: dict[str, str] = {}
    secret: set[str] = set()
    sources = (
        (project.directory / PROJECT_FILE, _project_defaults(project)),
        (stack.path, stack.config),
    )
    for path, entries in sources:
        for key, value in entries.items():
            full = _qualify(str(key), project.name, path)
            text, hidden = _text(value, f"{path}: config `{key}`", crypter)
            plain[full] = text
            (secret.add if hidden else secret.discard)(full)
    for key, value in overrides.items():
        full = _qualify(key, project.name, Path("--config"))
        plain[full] = value
    return Configuration(plain, frozenset(secret))


def recorded(project: Project, stack: StackFile) -> dict[str, Any]:
    """Return the configuration under full names as files have it: secrets still encrypted."""
    entries = {**_project_defaults(project), **stack.config}
    return {
        _qualify(str(key), project.name, stack.path): value
        if isinstance(value, (dict, list))
        else _text(value, str(key), None)[0]
        for key, value in entries.items()
    }


def has_secure_values(value: Any) -> bool:
    """Say whether a configuration value holds anything encrypted."""
    if isinstance(value, dict):
        return set(value) == {"secure"} or any(has_secure_values(each) for each in value.values())
    return isinstance(value, list) and any(has_secure_values(each) for each in value)


def _project_defaults(project: Project) -> dict[str, Any]:
    """Return the values Pulumi.yaml gives; a schema entry without a default gives none."""
    found: dict[str, Any] = {}
    for key, entry in project.config.items():
        if not isinstance(entry, dict):
            found[key] = entry
            continue
        for word in ("value", "default"):
            if word in entry:
                found[key] = entry[word]
                break
    return found


def _text(value: Any, where: str, crypter: passphrase.Crypter | None) -> tuple[str, bool]:
    """Return a value as the program gets it, and whether it is secret."""
    hidden = has_secure_values(value)
    if hidden:
        if crypter is None:
            raise errors.SecretsError(f"{where} is encrypted, but its file has no `encryptionsalt`")
        value = _decrypt(value, crypter)
    if isinstance(value, str):
        return value, hidden
    if value is None:
        return "", hidden
    return json.dumps(value, separators=(",", ":")), hidden


def _decrypt(value: Any, crypter: passphrase.Crypter) -> Any:
    if isinstance(value, dict):
        if set(value) == {"secure"}:
            return crypter.decrypt(str(value["secure"]))
        return {key: _decrypt(each, crypter) for key, each in value.items()}
    if isinstance(value, list):
        return [_decrypt(each, crypter) for each in value]
    return value


def _qualify(key: str, project: str, where: Path) -> str:
    parts = key.split(":")
    if not all(parts) or len(parts) > 3 or (len(parts) == 3 and parts[1] != "config"):
        raise errors.ProjectError(f"{where}: config key `{key}` must read `name` or `package:name`")
    return f"{parts[0]}:{parts[-1]}" if len(parts) > 1 else f"{project}:{key}"


def _read_yaml(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        text = path.read_text()
    except FileNotFoundError as exc:
        if not required:
            return {}
        raise errors.ProjectError(f"{path} does not exist") from exc
    except OSError as exc:
        raise errors.ProjectError(f"{path} cannot be read: {exc.strerror}") from exc
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise errors.ProjectError(
            f"{path}{line}: not YAML ({getattr(exc, 'problem', exc)})"
        ) from exc
    if not isinstance(document, dict):
        raise errors.ProjectError(
            f"{path}: must be a mapping of keys, not {type(document).__name__}"
        )
    return document


def _mapping(document: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise errors.ProjectError(f"{path}: `{key}` must be a mapping, not {type(value).__name__}")
    return value
