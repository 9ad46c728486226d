"""Kubernetes objects as inputs and outputs of resources. Pure.

Source: pulumi-kubernetes provider.go (Check, checkpointObject, normalizeInputs), clients/
unstructured.go and metadata/naming.go.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from typing import Any

from bex_stack.engine import errors, urns, values

Object = dict[str, Any]
"""An object as the API server has it: apiVersion, kind, metadata, …"""

AUTONAMED = "pulumi.com/autonamed"
FIELD_MANAGER = "pulumi.com/patchFieldManager"
PATCH_FORCE = "pulumi.com/patchForce"
CREATE_MANAGER = "pulumi-kubernetes"
"""Owns what POST creates; the first update hands it over to the object's own manager."""

_DASHED = (
    "embedded_resource",
    "int_or_string",
    "list_map_keys",
    "list_type",
    "map_type",
    "preserve_unknown_fields",
    "validations",
)
_TO_DASH = {f"x_kubernetes_{each}": f"x-kubernetes-{each.replace('_', '-')}" for each in _DASHED}
_TO_UNDERSCORE = {dash: underscore for underscore, dash in _TO_DASH.items()}
_READ_ONLY = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)
_QUANTITY_MAPS = {"limits", "requests", "capacity", "hard", "default", "defaultRequest"}
_QUANTITY_FIELDS = {"sizeLimit"}
_QUANTITY = re.compile(r"([+-]?\d+)(?:\.(\d+))?([numkMGTPE]|[KMGTPE]i)?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BUILT_IN = re.compile(r"[^/]+|(apps|batch|policy|autoscaling|extensions)/.+|[^/]*\.k8s\.io/.+")


def from_inputs(inputs: values.Properties) -> Object:
    """Return the object that inputs describe: no secret marks, dashed CRD keys."""
    return _rename(values.reveal(inputs), _TO_DASH)  # type: ignore[no-any-return]


def is_patch(type_token: str, kind: str) -> bool:
    """Say whether a resource manages only some fields of an object that others own."""
    return type_token.rsplit(":", 1)[-1] == f"{kind}Patch"


def metadata_of(obj: Object) -> dict[str, Any]:
    """Return the object's metadata; empty while it is not known."""
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}


def annotations(obj: Object) -> Mapping[str, str]:
    """Return the object's annotations, perhaps none."""
    found = metadata_of(obj).get("annotations")
    return found if isinstance(found, dict) else {}


def is_annotated(obj: Object, key: str) -> bool:
    """Say whether an annotation reads "true"."""
    return annotations(obj).get(key) == "true"


def name_of(obj: Object) -> str:
    """Return metadata.name, perhaps empty."""
    return str(metadata_of(obj).get("name") or "")


def namespace_of(obj: Object) -> str:
    """Return metadata.namespace, perhaps empty."""
    return str(metadata_of(obj).get("namespace") or "")


def identifier(obj: Object) -> str:
    """Return the resource id: `namespace/name`, or the name alone."""
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace else name_of(obj)


def with_name(obj: Object, old: Object | None, urn: str) -> Object:
    """Return the object with a name: its own, the one it was given before, or a new one.

    Raises: ProviderError for generateName, which server-side apply cannot serve.
    """
    metadata = metadata_of(obj)
    if metadata.get("name"):
        return obj
    if metadata.get("generateName"):
        raise errors.ProviderError("`metadata.generateName` is not supported; set metadata.name")
    if old is not None and is_annotated(old, AUTONAMED):
        name = name_of(old)
    else:
        name = f"{urns.name_of(urn)}-{secrets.token_hex(4)}"
    marks = {**(metadata.get("annotations") or {}), AUTONAMED: "true"}
    return {**obj, "metadata": {**metadata, "name": name, "annotations": marks}}


def field_manager(inputs: Object, outputs: Mapping[str, Any] | None) -> str:
    """Return the name under which fields are owned: annotation, state, or a new random one."""
    named = annotations(inputs).get(FIELD_MANAGER)
    recorded = (outputs or {}).get("__fieldManager")
    return str(named or recorded or f"{CREATE_MANAGER}-{secrets.token_hex(4)}")


def normalize(obj: Object) -> Object:
    """Return the object with differences of spelling removed that the API server removes too."""
    if not values.has_unknowns(obj) and _BUILT_IN.fullmatch(str(obj.get("apiVersion", ""))):
        if obj.get("kind") == "Secret":
            obj = _normalize_secret(obj)
        elif obj.get("kind") == "CustomResourceDefinition":
            obj = {key: value for key, value in obj.items() if key != "status"}
        else:
            obj = _normalize_quantities(obj)
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        kept = {key: value for key, value in metadata.items() if key not in _READ_ONLY}
        obj = {**obj, "metadata": kept}
    return obj


def checkpoint(
    inputs: Object, live: Object, given: values.Properties, manager: str, version: str
) -> values.Properties:
    """Return a resource's outputs: the live object, and beside it what the provider remembers."""
    outputs = mark_secrets(_rename(live, _TO_UNDERSCORE), given)
    outputs["__inputs"] = mark_secrets(_rename(inputs, _TO_UNDERSCORE), given)
    outputs["__initialApiVersion"] = version
    outputs["__fieldManager"] = manager
    return outputs


def from_checkpoint(outputs: values.Properties) -> tuple[Object, Object]:
    """Return the last inputs and the last live object out of a resource's outputs."""
    plain = from_inputs(outputs)
    live = {key: value for key, value in plain.items() if not key.startswith("__")}
    return plain.get("__inputs") or {}, live


def mark_secrets(obj: Object, given: values.Properties) -> values.Properties:
    """Mark secret what was secret in the given inputs, and every Secret's data."""
    if obj.get("kind") == "Secret":
        marked = dict(obj)
        for key in ("data", "stringData"):
            if key in marked:
                marked[key] = values.secret(marked[key])
        return marked
    return values.mark_like(obj, given)


def _normalize_secret(obj: Object) -> Object:
    data = {key: _recode(value) for key, value in (obj.get("data") or {}).items()}
    text = obj.get("stringData") or {}
    data |= {key: base64.b64encode(str(each).encode()).decode() for key, each in text.items()}
    rest = {key: value for key, value in obj.items() if key != "stringData"}
    return {**rest, "data": data} if data or "data" in obj else rest


def _recode(text: Any) -> Any:
    """Spell base64 as the server does; what is no base64 is left for the server to refuse."""
    try:
        return base64.b64encode(base64.b64decode(text, validate=False)).decode()
    except (binascii.Error, TypeError, ValueError):
        return text


def _normalize_quantities(value: Any, key: str = "") -> Any:
    if isinstance(value, list):
        return [_normalize_quantities(each) for each in value]
    if not isinstance(value, dict):
        return canonical_quantity(value) if key in _QUANTITY_FIELDS else value
    if key in _QUANTITY_MAPS:
        return {
            name: canonical_quantity(each) if isinstance(each, str | int | float) else each
            for name, each in value.items()
        }
    return {name: _normalize_quantities(each, name) for name, each in value.items()}


def canonical_quantity(value: Any) -> Any:
    """Spell a quantity as the API server does: `0.5` is `500m`, `1000m` is `1`, `1024Mi` is `1Gi`.

    Source: k8s.io/apimachinery/pkg/api/resource, Quantity.CanonicalizeBytes.
    """
    match = _QUANTITY.fullmatch(str(value))
    if match is None or isinstance(value, bool):
        return value
    whole, fraction, suffix = match.group(1), match.group(2) or "", match.group(3) or ""
    number = int(whole + fraction)
    if suffix.endswith("i"):
        return _canonical_binary(number, fraction, suffix)
    power = _DECIMAL[suffix] - len(fraction)
    while power % 3:
        number, power = number * 10, power - 1
    while number and number % 1000 == 0 and power < 18:
        number, power = number // 1000, power + 3
    if number == 0:
        return "0"
    names = {exponent: name for name, exponent in _DECIMAL.items()}
    return f"{number}{names[power]}" if power in names else value


def _canonical_binary(number: int, fraction: str, suffix: str) -> Any:
    order = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
    if fraction:
        return canonical_quantity_bytes(number, fraction, 1 + order.index(suffix))
    index = order.index(suffix)
    while number and number % 1024 == 0 and index + 1 < len(order):
        number, index = number // 1024, index + 1
    return f"{number}{order[index]}" if number else "0"


def canonical_quantity_bytes(number: int, fraction: str, power: int) -> Any:
    """Spell a fractional binary quantity: `1.5Gi` is `1536Mi`."""
    total, rest = divmod(number * 1024**power, 10 ** len(fraction))
    if rest:
        return f"{total + 1}"
    order = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
    index = 0
    while total and total % 1024 == 0 and index + 1 < len(order):
        total, index = total // 1024, index + 1
    return f"{total}{order[index]}"


def _rename(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _rename(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_rename(each, names) for each in value]
    return value
