"""The settings of a stack: the only reader of Pulumi's configuration.

One closed model per provider (`settings_models`). Whatever a stack file says beyond it is refused
with file, key and rule, before anything is touched.
"""

import fnmatch
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pydantic

from bex_stack import errors
from bex_stack import settings_models as models

NAMESPACE = "bex:"

if TYPE_CHECKING:
    from bex_stack import settings_cluster_api as cluster_api

    StackSettings = models.EmbeddedSettings | cluster_api.CapdSettings | cluster_api.CaphSettings


def home() -> Path:
    """Return where bex keeps state: `BEX_HOME`, else `~/.local/state/bex`."""
    given = os.environ.get("BEX_HOME")
    return Path(given).absolute() if given else Path.home() / ".local/state/bex"


def from_pulumi() -> "StackSettings":
    """Read the running program's settings.

    Raises:
        errors.BadSettings: a key is unknown, missing, of the wrong type or out of bounds.
    """
    import pulumi
    from pulumi.runtime import config

    given = {**config.get_config_env(), **config.CONFIG.get()}
    own = without_defaults_of_others(given, checked=is_run_by_bex())
    return parse(own, source=f"Pulumi.{pulumi.get_stack()}.yaml")


def hetzner_token() -> Any:
    """Return the secret `hcloud:token` as an output; empty when there is none, as in a preview."""
    import pulumi

    token = pulumi.Config("hcloud").get_secret("token")
    return token if token is not None else pulumi.Output.secret("")


def hetzner_token_text() -> str:
    """Return the secret `hcloud:token` in clear, for who asks Hetzner; empty when there is none."""
    import pulumi

    return pulumi.Config("hcloud").get("token") or ""


def parse(config: Mapping[str, str], *, source: str) -> "StackSettings":
    """Turn configuration texts (`bex:workers` -> `"2"`) into settings; *source* names their file.

    Raises:
        errors.BadSettings: naming source, key, value and rule for every bad key at once.
    """
    own = {key.removeprefix(NAMESPACE): value for key, value in config.items() if _is_own(key)}
    provider = own.get("provider")
    try:
        model = model_of(provider or "")
    except LookupError as unknown:
        known = ", ".join(models.PROVIDERS)
        raise errors.BadSettings(
            f"{source}: bex:provider is {provider!r}; it must be one of: {known}"
        ) from unknown
    texts = {f.alias for f in model.model_fields.values() if f.annotation is str}
    values = {key: value if key in texts else _decode(value) for key, value in own.items()}
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as refused:
        known = ", ".join(str(field.alias) for field in model.model_fields.values())
        lines = [_line(source, cast(Mapping[str, Any], error), known) for error in refused.errors()]
        raise errors.BadSettings("\n".join(lines)) from refused


def model_of(provider: str) -> "type[StackSettings]":
    """Return the model of one provider's settings.

    Raises:
        LookupError: nobody is called so.
    """
    if provider == "embedded":
        return models.EmbeddedSettings
    from bex_stack import settings_cluster_api as cluster_api  # the embedded stack does without

    found: dict[str, type[StackSettings]] = {
        "capd": cluster_api.CapdSettings,
        "caph": cluster_api.CaphSettings,
    }
    return found[provider]


def without_defaults_of_others(config: Mapping[str, str], *, checked: bool) -> dict[str, str]:
    """Leave out what Pulumi itself adds: Pulumi.yaml declares every provider's keys, and the
    default of each is handed to every stack that does not set it.

    With *checked*, somebody has read the stack file itself before: whatever is not the provider's
    can only be a default.
    """
    provider = config.get(f"{NAMESPACE}provider", "")
    if provider not in models.PROVIDERS:
        return dict(config)  # refused in a moment
    own = {f"{NAMESPACE}{field.alias}" for field in model_of(provider).model_fields.values()}
    if checked:
        return {key: text for key, text in config.items() if key in own or not _is_own(key)}
    added = {
        f"{NAMESPACE}{field.alias}": field.default
        for other in models.PROVIDERS
        for field in model_of(other).model_fields.values()
    }
    return {
        key: text
        for key, text in config.items()
        if key in own or key not in added or not _is_same(text, added[key])
    }


def is_run_by_bex() -> bool:
    """Whether the embedded engine runs the program: `bex` has then read the stack file."""
    from pulumi.runtime.settings import get_monitor

    return type(get_monitor()).__module__.startswith("bex_stack.engine")


def _is_same(text: str, default: object) -> bool:
    return text == default or _decode(text) == json.loads(json.dumps(default))


def select_apps(patterns: Sequence[str], names: Sequence[str], *, source: str) -> tuple[str, ...]:
    """Choose from *names* (in their order) what `bex:apps` asks for.

    Raises:
        errors.BadSettings: a plain name that no module defines, so that a slip of the pen never
            reads as a removal.
    """
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    unwanted = [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")]
    for name in wanted:
        if not set(name) & set("*?[") and name not in names:
            known = ", ".join(names) or "none"
            raise errors.BadSettings(
                f"{source}: bex:apps names {name!r}, which no module in apps/ defines"
                f" (defined: {known})"
            )
    return tuple(name for name in names if _matches(name, wanted) and not _matches(name, unwanted))


def _is_own(key: str) -> bool:
    return key.startswith(NAMESPACE)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _decode(text: str) -> Any:
    """Configuration values are texts; numbers, flags and lists are JSON inside them."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _line(source: str, error: Mapping[str, Any], known: str) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{source}: bex:{key} is not a setting of this provider (settings: {known})"
    message = error["msg"].removeprefix("Value error, ")
    value = "" if error["type"] == "missing" else f" is {error['input']!r}"
    return f"{source}: bex:{key}{value}: {message}" if key else f"{source}: {message}"
