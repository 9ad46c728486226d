"""Tells whether an object already is as it should be, so that only differences are written."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bex_operator.api import names

_WHOLE = frozenset({"selector"})
"""What belongs to one writer as a whole: a label more in it selects other pods, or none."""


def digest(manifest: Mapping[str, Any]) -> str:
    """Digest a manifest: equal for equal content, whatever the order of keys."""
    return hashlib.sha256(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def holds(observed: Any, wanted: Any) -> bool:
    """Tell whether *observed* has everything that *wanted* says.

    What others or the API server's defaults added does not count, as it does not for server-side
    apply; that a field of ours went away shows in the digest kept as an annotation. Lists of named
    things (containers, variables, ports) compare by name, all other lists as a whole.
    """
    # Every reconcile comes through here with all its objects: JSON's own types and plain loops, and
    # no call for what is neither an object nor a list.
    kind = type(wanted)
    if kind is dict:
        return type(observed) is dict and _object_holds(observed, wanted)
    if kind is list:
        return type(observed) is list and _list_holds(observed, wanted)
    return bool(observed == wanted) and type(observed) is kind


def merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that makes *new* of *old*."""
    made: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        was = old.get(key)
        if isinstance(value, Mapping) and isinstance(was, Mapping):
            value = merge(was, value)  # noqa: PLW2901 - what differs inside
            if value:
                made[key] = value
        elif value != was or key not in old:
            made[key] = value
    return made


def owned_by(manifest: Mapping[str, Any], uid: str) -> bool:
    """Tell whether the object was made for the App with *uid*.

    Its controller says so, or, where somebody removed every controller, the label we put on it.
    """
    metadata = manifest["metadata"]
    references = metadata.get("ownerReferences") or []
    controllers = [each.get("uid") for each in references if each.get("controller")]
    if controllers:
        return uid in controllers
    return bool((metadata.get("labels") or {}).get(names.APP_UID_LABEL) == uid)


def _object_holds(observed: dict[str, Any], wanted: dict[str, Any]) -> bool:
    for key, value in wanted.items():
        if key not in observed:
            return False
        found, kind = observed[key], type(value)
        if type(found) is not kind:
            return False
        if kind is dict and key not in _WHOLE:
            if not _object_holds(found, value):
                return False
        elif kind is list and key not in _WHOLE:
            if not _list_holds(found, value):
                return False
        elif found != value:
            return False
    return True


def _list_holds(observed: list[Any], wanted: list[Any]) -> bool:
    if len(observed) == len(wanted) and all(map(holds, observed, wanted)):
        return True
    if not wanted or not all(isinstance(each, dict) and "name" in each for each in wanted):
        return False
    named = {each.get("name"): each for each in observed if isinstance(each, dict)}
    return all(
        each["name"] in named and holds(named[each["name"]], each) for each in wanted
    ) and _same_order(observed, wanted)


def _same_order(observed: Sequence[Any], wanted: Sequence[Any]) -> bool:
    """Order matters: a variable may refer to those before it."""
    order = [each["name"] for each in wanted]
    return [
        each["name"] for each in observed if isinstance(each, dict) and each["name"] in order
    ] == order
