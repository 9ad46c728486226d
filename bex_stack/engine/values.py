"""Property values as they travel: JSON-like data with marks for secrets and unknowns.

A secret is `{SIGNATURE: SECRET, "value": X}`, an unknown is the string UNKNOWN. Values stay in this
form inside the engine, so no secret loses its mark on the way to the state.
"""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import struct_pb2

Value = Any
Properties = dict[str, Any]

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a mark, no password
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
MASK = "[secret]"


def from_struct(struct: struct_pb2.Struct) -> Properties:
    """Convert a message to plain data. Integral numbers become int: Go refuses 2.0 for an int32."""
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: struct_pb2.Value) -> Value:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [_plain(each) for each in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind is None or kind == "null_value":
        return None
    return getattr(value, kind)


def to_struct(properties: Mapping[str, Value]) -> struct_pb2.Struct:
    """Convert plain data to a message."""
    struct = struct_pb2.Struct()
    struct.update(dict(properties))
    return struct


def secret(value: Value) -> Value:
    """Mark a value secret; a secret stays as it is."""
    return value if is_secret(value) else {SIGNATURE: SECRET, "value": value}


def is_secret(value: Value) -> bool:
    """Say whether this very value is marked secret."""
    return isinstance(value, dict) and value.get(SIGNATURE) == SECRET


def is_unknown(value: Value) -> bool:
    """Say whether this very value is not known yet."""
    return isinstance(value, str) and value == UNKNOWN


def contains(value: Value, test: Callable[[Value], bool]) -> bool:
    """Say whether `test` holds for the value or anything inside it."""
    if test(value):
        return True
    if isinstance(value, dict):
        return any(contains(each, test) for each in value.values())
    if isinstance(value, list):
        return any(contains(each, test) for each in value)
    return False


def has_secrets(value: Value) -> bool:
    """Say whether any part is secret."""
    return contains(value, is_secret)


def has_unknowns(value: Value) -> bool:
    """Say whether any part is not known yet."""
    return contains(value, is_unknown)


def rewrite(value: Value, change: Callable[[Value], Value]) -> Value:
    """Rebuild a value, giving `change` every dict, list and scalar from the outside in.

    `change` returns its argument itself to keep it; anything else replaces it as a whole.
    """
    changed = change(value)
    if changed is not value:
        return changed
    if isinstance(value, dict):
        return {key: rewrite(each, change) for key, each in value.items()}
    if isinstance(value, list):
        return [rewrite(each, change) for each in value]
    return value


def reveal(value: Value) -> Value:
    """Return the value with all secret marks taken off."""
    return rewrite(value, lambda each: reveal(each["value"]) if is_secret(each) else each)


def mask(value: Value) -> Value:
    """Return the value with every secret replaced by `[secret]`, fit for people's eyes."""
    return rewrite(value, lambda each: MASK if is_secret(each) else each)


def mark_like(outputs: Properties, inputs: Mapping[str, Value]) -> Properties:
    """Return outputs where everything that was secret in the inputs is secret again.

    Source: pulumi sdk/go/common/resource/plugin/provider_plugin.go, annotateSecrets.
    """
    marked = dict(outputs)
    for key, given in inputs.items():
        if key not in marked:
            continue
        have = marked[key]
        if is_secret(have):
            continue
        if isinstance(have, dict) and isinstance(given, dict) and not is_secret(given):
            marked[key] = mark_like(have, given)
        elif has_secrets(given):
            marked[key] = secret(have)
    return marked


def mark_keys(outputs: Properties, keys: tuple[str, ...]) -> Properties:
    """Return outputs where the named top-level keys are secret."""
    return {key: secret(each) if key in keys else each for key, each in outputs.items()}
