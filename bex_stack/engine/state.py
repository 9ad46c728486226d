"""A stack's resources as the state file holds them (checkpoint version 3).

Source: pulumi sdk/go/common/apitype/core.go, ResourceV3, DeploymentV3, CheckpointV3 (3.272).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bex_stack.engine import passphrase, values


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Resource:
    """One resource; compared by identity because replaced copies share their URN."""

    urn: str
    type: str
    custom: bool
    id: str = ""
    delete: bool = False
    inputs: values.Properties = field(default_factory=dict)
    outputs: values.Properties = field(default_factory=dict)
    parent: str = ""
    protect: bool = False
    taint: bool = False
    external: bool = False
    dependencies: tuple[str, ...] = ()
    init_errors: tuple[str, ...] = ()
    provider: str = ""
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pending_replacement: bool = False
    additional_secret_outputs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    custom_timeouts: Mapping[str, float] = field(default_factory=dict)
    retain_on_delete: bool = False
    deleted_with: str = ""
    created: str = ""
    modified: str = ""
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the CLI that the engine keeps without reading them."""

    def same_record(self, other: "Resource") -> bool:
        """Say whether both would be written alike, times apart."""
        skip = ("created", "modified")
        return all(
            getattr(self, name) == getattr(other, name)
            for name in Resource.__slots__
            if name not in skip
        )


@dataclass(frozen=True, slots=True)
class Pending:
    """An operation that was begun: creating, updating, deleting or reading."""

    kind: str
    resource: Resource


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything a state file says about its stack."""

    resources: tuple[Resource, ...] = ()
    pending: tuple[Pending, ...] = ()
    salt: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


_SCALARS = {
    "id": "id",
    "delete": "delete",
    "inputs": "inputs",
    "outputs": "outputs",
    "parent": "parent",
    "protect": "protect",
    "taint": "taint",
    "external": "external",
    "dependencies": "dependencies",
    "initErrors": "init_errors",
    "provider": "provider",
    "propertyDependencies": "property_dependencies",
    "pendingReplacement": "pending_replacement",
    "additionalSecretOutputs": "additional_secret_outputs",
    "aliases": "aliases",
    "customTimeouts": "custom_timeouts",
    "retainOnDelete": "retain_on_delete",
    "deletedWith": "deleted_with",
    "created": "created",
    "modified": "modified",
    "ignoreChanges": "ignore_changes",
    "replaceOnChanges": "replace_on_changes",
}
"""JSON key to attribute, in the order the CLI writes them; empty values are left out."""

_LISTS = {
    "dependencies",
    "initErrors",
    "additionalSecretOutputs",
    "aliases",
    "ignoreChanges",
    "replaceOnChanges",
}


def to_record(resource: Resource, seal: passphrase.Crypter | None) -> dict[str, Any]:
    """Write a resource as JSON data; without a crypter secrets become `[secret]`."""
    record: dict[str, Any] = {"urn": resource.urn, "custom": resource.custom}
    for key, name in _SCALARS.items():
        if key == "inputs":
            record["type"] = resource.type
        value = getattr(resource, name)
        if not value:
            continue
        if key in ("inputs", "outputs"):
            value = values.mask(value) if seal is None else _seal(value, seal)
        elif key == "propertyDependencies":
            value = {each: list(urns) for each, urns in sorted(value.items())}
        elif key == "customTimeouts":
            # The CLI writes whole seconds as integers.
            value = {name: int(each) if each == int(each) else each for name, each in value.items()}
        elif key in _LISTS:
            value = list(value)
        record[key] = value
    return {**record, **resource.extra}


def from_record(record: Mapping[str, Any], crypter: passphrase.Crypter | None) -> Resource:
    """Read a resource.

    Raises: KeyError or TypeError for a record that is none, SecretsError for a secret that does
    not open.
    """
    attributes: dict[str, Any] = {}
    for key, name in _SCALARS.items():
        if key not in record:
            continue
        value = record[key]
        if key in ("inputs", "outputs"):
            value = _open(value, crypter)
        elif key == "propertyDependencies":
            value = {each: tuple(urns or ()) for each, urns in value.items()}
        elif key in _LISTS:
            value = tuple(value)
        attributes[name] = value
    known = {"urn", "custom", "type", *_SCALARS}
    return Resource(
        urn=record["urn"],
        type=record["type"],
        custom=bool(record["custom"]),
        extra={key: value for key, value in record.items() if key not in known},
        **attributes,
    )


def _seal(value: Any, crypter: passphrase.Crypter) -> Any:
    def change(each: Any) -> Any:
        if not values.is_secret(each):
            return each
        text = json.dumps(values.reveal(each["value"]), separators=(",", ":"), sort_keys=True)
        return {values.SIGNATURE: values.SECRET, "ciphertext": crypter.encrypt(text)}

    return values.rewrite(value, change)


def _open(value: Any, crypter: passphrase.Crypter | None) -> Any:
    def change(each: Any) -> Any:
        if not values.is_secret(each) or "ciphertext" not in each:
            return each
        if crypter is None:
            raise KeyError("secrets_providers")
        return values.secret(json.loads(crypter.decrypt(each["ciphertext"])))

    return values.rewrite(value, change)
