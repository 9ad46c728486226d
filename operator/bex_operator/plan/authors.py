"""Who changed an App last, as far as the API server tells: the program, or the person it names."""

from collections.abc import Mapping
from typing import Any

from bex_operator.api import names

LIMIT = 100


def changed_by(manifest: Mapping[str, Any]) -> str | None:
    """Name who changed the App object last; None if only the operator did.

    It is the name of the program that wrote (its field manager), unless that wrote the annotation
    that names a person, too.
    """
    metadata = manifest["metadata"]
    others = [
        each
        for each in metadata.get("managedFields") or []
        if not each.get("subresource") and not _is_ours(each.get("manager", ""))
    ]
    # The last of those of one second: the API server sorts them by time.
    last = max(reversed(others), key=lambda each: str(each.get("time", "")), default=None)
    if last is None:
        return None
    annotations = last.get("fieldsV1", {}).get("f:metadata", {}).get("f:annotations", {})
    person = (metadata.get("annotations") or {}).get(names.CHANGED_BY_ANNOTATION)
    if person and f"f:{names.CHANGED_BY_ANNOTATION}" in annotations:
        return str(person)[:LIMIT]
    return str(last.get("manager") or "unknown")[:LIMIT]


def _is_ours(manager: str) -> bool:
    return manager == names.MANAGED_BY or manager.startswith(f"{names.MANAGED_BY}-")
