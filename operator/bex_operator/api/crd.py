"""Renders the CustomResourceDefinition of App from the model: structural schema, rules, columns."""

from collections.abc import Mapping
from typing import Any

import pydantic

from bex_operator.api import app, names, status

_DROPPED = frozenset({"title", "additionalProperties", "default", "$defs"})

_COLUMNS = (
    ("Phase", "string", ".status.phase", "State in one word", 0),
    ("Revision", "string", ".status.activeRevision", "Revision that serves", 0),
    ("URL", "string", ".status.url", "Where it answers", 0),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "All replicas serve", 0),
    ("Age", "date", ".metadata.creationTimestamp", "Since when it exists", 0),
    ("Repo", "string", ".spec.repo", "Repository it is built from", 1),
)


def crd() -> dict[str, Any]:
    """Render the `apiextensions.k8s.io/v1` CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": "app",
                "shortNames": ["bx"],
                "categories": ["bex"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root()},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [_column(*column) for column in _COLUMNS],
    }


def _column(name: str, kind: str, path: str, description: str, priority: int) -> dict[str, Any]:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    # The API server leaves out a priority of 0 when asked; so do we.
    return {**column, "priority": priority} if priority else column


def _root() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "An image or a git repository that runs as a service.",
        "required": ["spec"],
        "x-kubernetes-validations": [
            {
                "rule": f"self.metadata.name.matches(r'^({app.NAME.regex})$')",
                "message": f"metadata.name {app.NAME.message}",
            }
        ],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(app.AppSpec),
            "status": structural(status.AppStatus),
        },
    }


def structural(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """Render a model as the structural schema that a CRD demands.

    References are inlined, optional means absent (null is pruned by the API server), and unknown
    fields are refused by strict validation, not by `additionalProperties`.
    """
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.get("$defs", {}))


def _structural(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        target = defs[schema["$ref"].removeprefix("#/$defs/")]
        return _structural({**target, **{k: v for k, v in schema.items() if k != "$ref"}}, defs)
    if "anyOf" in schema:
        (inner,) = (each for each in schema["anyOf"] if each.get("type") != "null")
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return _structural({**inner, **rest}, defs)
    made = {key: value for key, value in schema.items() if key not in _DROPPED}
    if schema.get("default") is not None and schema["default"] != []:
        made["default"] = schema["default"]
    if made.get("type") == "integer":
        made["format"] = "int32" if "maximum" in made else "int64"
    if "properties" in made:
        made["properties"] = {
            name: _structural(each, defs) for name, each in made["properties"].items()
        }
    if "items" in made:
        made["items"] = _structural(made["items"], defs)
    if "description" in made:
        made["description"] = " ".join(made["description"].split())
    return made
