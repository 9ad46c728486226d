"""The settings of a stack: the only reader of Pulumi's configuration.

One closed model per provider. Whatever a stack file says beyond it is refused with file, key and
rule, before anything is touched.
"""

import fnmatch
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import pydantic
from pydantic import alias_generators

from bex_stack import errors
from bex_stack.embedded import instance as instances

NAMESPACE = "bex:"

Port = Annotated[int, pydantic.Field(ge=1, le=65535)]


class EmbeddedSettings(pydantic.BaseModel):
    """A stack whose machines live on this Linux host."""

    model_config = pydantic.ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        alias_generator=alias_generators.to_camel,
    )

    provider: Literal["embedded"]
    """Where machines come from: `embedded` = this Linux host."""
    instance: Annotated[str, pydantic.Field(pattern=r"^[a-z][a-z0-9]{0,9}$")] = "bex"
    """Name of the cluster on this host: 1-10 of a-z and 0-9; two can live side by side."""
    workers: Annotated[int, pydantic.Field(ge=0, le=50)] = 2
    """Worker machines, 0-50; `bex machines scale N` changes it."""
    machines: Literal["real", "simulated"] = "real"
    """`real`: namespaces with their own containerd and kubelet (needs root). `simulated`: KWOK
    nodes that run no containers, for scale tests and hosts that refuse namespaces."""
    apps: Annotated[tuple[str, ...], pydantic.Field(strict=False)] = ("*",)
    """App names or patterns this stack runs; a leading `!` leaves matching ones out."""
    network: str = "10.90.0.0/24"
    """The machines' network (IPv4, /24); the host has its first address."""
    pod_network: str = "10.244.0.0/16"
    """The pods' network (IPv4, /16); each machine has a /24 of it."""
    edge_http_port: Port = 8080
    """Port on 127.0.0.1 where apps answer in clear."""
    edge_https_port: Port = 8443
    """Port on 127.0.0.1 where apps answer with TLS."""
    registry_port: Port = 5050
    """Port on 127.0.0.1 of the OCI registry."""

    @pydantic.model_validator(mode="after")
    def _describes_an_instance(self) -> Self:
        self.as_instance(Path("/"))
        return self

    def as_instance(self, home: Path) -> instances.Instance:
        """Describe the embedded cluster; its files lie below *home*."""
        return instances.from_inputs(
            {
                "home": str(home),
                "name": self.instance,
                "kind": self.machines,
                **self.model_dump(
                    include={
                        "network",
                        "pod_network",
                        "edge_http_port",
                        "edge_https_port",
                        "registry_port",
                    }
                ),
            }
        )


StackSettings = EmbeddedSettings
"""One variant per provider; `embedded` is the only one so far."""

PROVIDERS: Mapping[str, type[StackSettings]] = {"embedded": EmbeddedSettings}


def home() -> Path:
    """Return where bex keeps state: `BEX_HOME`, else `~/.local/state/bex`."""
    given = os.environ.get("BEX_HOME")
    return Path(given).absolute() if given else Path.home() / ".local/state/bex"


def from_pulumi() -> StackSettings:
    """Read the running program's settings.

    Raises:
        errors.BadSettings: a key is unknown, missing, of the wrong type or out of bounds.
    """
    import pulumi
    from pulumi.runtime import config

    given = {**config.get_config_env(), **config.CONFIG.get()}
    return parse(given, source=f"Pulumi.{pulumi.get_stack()}.yaml")


def parse(config: Mapping[str, str], *, source: str) -> StackSettings:
    """Turn configuration texts (`bex:workers` -> `"2"`) into settings; *source* names their file.

    Raises:
        errors.BadSettings: naming source, key, value and rule for every bad key at once.
    """
    own = {key.removeprefix(NAMESPACE): value for key, value in config.items() if _is_own(key)}
    provider = own.get("provider")
    model = PROVIDERS.get(provider or "")
    if model is None:
        known = ", ".join(PROVIDERS)
        raise errors.BadSettings(
            f"{source}: bex:provider is {provider!r}; it must be one of: {known}"
        )
    texts = {f.alias for f in model.model_fields.values() if f.annotation is str}
    values = {key: value if key in texts else _decode(value) for key, value in own.items()}
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as refused:
        lines = [_line(source, cast(Mapping[str, Any], error)) for error in refused.errors()]
        raise errors.BadSettings("\n".join(lines)) from refused


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


def _line(source: str, error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = ", ".join(str(field.alias) for field in EmbeddedSettings.model_fields.values())
        return f"{source}: bex:{key} is not a setting of this provider (settings: {known})"
    value = "" if error["type"] == "missing" else f" is {error['input']!r}"
    return f"{source}: bex:{key}{value}: {error['msg']}" if key else f"{source}: {error['msg']}"
