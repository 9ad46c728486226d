"""What a program asks for when it registers a resource: requests turned into values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bex_stack.engine import errors, values

if TYPE_CHECKING:
    # Importing the SDK takes 0.3 s; commands that run no program do without.
    from pulumi.runtime.proto import resource_pb2

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


@dataclass(frozen=True, slots=True)
class Goal:
    """A registration, in plain data. Options that are None follow the parent or the provider."""

    type: str
    name: str
    custom: bool
    parent: str = ""
    inputs: values.Properties = field(default_factory=dict)
    provider: str = ""
    version: str = ""
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protect: bool | None = None
    retain_on_delete: bool | None = None
    delete_before_replace: bool | None = None
    deleted_with: str = ""
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    additional_secret_outputs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    custom_timeouts: Mapping[str, float] = field(default_factory=dict)
    remote: bool = False
    """Whether the plugin itself builds this component."""
    position: str = ""
    """`file:line` of the program, for messages."""

    def timeout_seconds(self, operation: str) -> float | None:
        """Return the custom timeout of create, update or delete."""
        return self.custom_timeouts.get(operation)


def from_request(request: resource_pb2.RegisterResourceRequest) -> Goal:
    """Read a registration.

    Raises: Unsupported naming type, name and source line for anything outside the subset.
    """
    where = position(request)
    _refuse(request, where)
    return Goal(
        type=request.type,
        name=request.name,
        custom=request.custom,
        parent=request.parent,
        inputs=_without_nulls(values.from_struct(request.object)),
        provider=request.provider,
        version=request.version,
        dependencies=tuple(request.dependencies),
        property_dependencies={
            key: tuple(each.urns) for key, each in request.propertyDependencies.items()
        },
        protect=request.protect if request.HasField("protect") else None,
        retain_on_delete=request.retainOnDelete if request.HasField("retainOnDelete") else None,
        delete_before_replace=(
            request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None
        ),
        deleted_with=request.deletedWith,
        ignore_changes=tuple(request.ignoreChanges),
        replace_on_changes=tuple(request.replaceOnChanges),
        additional_secret_outputs=tuple(request.additionalSecretOutputs),
        aliases=tuple(request.aliasURNs),
        custom_timeouts=_timeouts(request.customTimeouts, where),
        remote=request.remote,
        position=where,
    )


def position(
    request: resource_pb2.RegisterResourceRequest
    | resource_pb2.ReadResourceRequest
    | resource_pb2.ResourceInvokeRequest,
) -> str:
    """Return `file:line` of the program's own code, or empty when the SDK did not say."""
    source = request.sourcePosition
    if not source.uri and request.stackTrace.frames:
        source = request.stackTrace.frames[0].pc
    path = source.uri.removeprefix("project://").removeprefix("file://")
    return f"{path}:{source.line}" if path else ""


def unsupported(what: str, type_token: str, name: str, where: str) -> errors.Unsupported:
    """Build the refusal of one resource."""
    at = f" at {where}" if where else ""
    return errors.Unsupported(
        f"{what}: resource {type_token} {name!r}{at}. The embedded engine supports Kubernetes "
        "objects, dynamic providers, components and stack references; the rest needs the pulumi CLI"
    )


def _refuse(request: resource_pb2.RegisterResourceRequest, where: str) -> None:
    refused = {
        "the `import_` option is not supported": bool(request.importId),
        "the `replace_with` option is not supported": bool(request.replace_with),
        "the `replacement_trigger` option is not supported": request.HasField(
            "replacement_trigger"
        ),
        "transforms are not supported": bool(request.transforms),
        "parameterized packages are not supported": bool(request.packageRef),
        "state migrations are not supported": bool(request.state_migrations),
        "resource hooks are not supported": request.HasField("hooks")
        and bool(request.hooks.ListFields()),
    }
    for what, present in refused.items():
        if present:
            raise unsupported(what, request.type, request.name, where)


def _without_nulls(properties: values.Properties) -> values.Properties:
    return {key: value for key, value in properties.items() if value is not None}


def _timeouts(
    message: resource_pb2.RegisterResourceRequest.CustomTimeouts, where: str
) -> dict[str, float]:
    given = {"create": message.create, "update": message.update, "delete": message.delete}
    return {key: _seconds(text, where) for key, text in given.items() if text}


def _seconds(text: str, where: str) -> float:
    """Read a Go duration such as `1h30m` or `45s`."""
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        raise errors.ProjectError(f"{where}: timeout {text!r} must read like `90s` or `1h30m`")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
