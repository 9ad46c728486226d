"""Declares every setting in Pulumi.yaml, so that `pulumi config` and editors know it.

Generated from the models: `python -m bex_stack.settings_schema` writes the file anew; a test keeps
it equal. Pulumi hands a declared default to every stack, hence one default per key, and a key
without one would be required of every stack.
"""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

from ruamel import yaml

from bex_stack import settings
from bex_stack import settings_models as models

PROJECT_FILE = Path(__file__).parents[1] / "Pulumi.yaml"
_NAMES = {int: "integer", bool: "boolean"}


def declarations() -> dict[str, dict[str, Any]]:
    """Render the `config` section, by key; `bex:provider` first, the rest as the models stand."""
    found: dict[str, dict[str, Any]] = {}
    for provider in models.PROVIDERS:
        for field in settings.model_of(provider).model_fields.values():
            found.setdefault(f"{settings.NAMESPACE}{field.alias}", _declaration(field))
    first = f"{settings.NAMESPACE}provider"
    return {first: found.pop(first), **found}


def render(text: str) -> str:
    """Return Pulumi.yaml's *text* with the section as it should be; the rest stays."""
    tool = yaml.YAML()
    tool.preserve_quotes = True
    tool.width = 110
    document = tool.load(text)
    document["config"] = declarations()
    out = io.StringIO()
    tool.dump(document, out)
    return out.getvalue()


def _declaration(field: Any) -> dict[str, Any]:
    words = " ".join((field.description or "").split())
    declared: dict[str, Any] = _type(field.annotation)
    declared["description"] = words
    if not field.is_required():
        default = field.default
        declared["default"] = list(default) if isinstance(default, tuple) else default
    return declared


def _type(annotation: Any) -> dict[str, Any]:
    if get_origin(annotation) is tuple:
        items: Mapping[str, str] = {"type": "string"}
        return {"type": "array", "items": dict(items)}
    return {"type": _NAMES.get(annotation, "string")}


if __name__ == "__main__":
    PROJECT_FILE.write_text(render(PROJECT_FILE.read_text()))
    sys.exit(0)
