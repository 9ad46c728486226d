"""What changed between two values, place by place. Pure."""

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bex_stack.engine import paths, values


class Kind(enum.StrEnum):
    """How one place changed; spelled as in `pulumi preview --json`."""

    ADD = "add"
    ADD_REPLACE = "add-replace"
    DELETE = "delete"
    DELETE_REPLACE = "delete-replace"
    UPDATE = "update"
    UPDATE_REPLACE = "update-replace"

    @property
    def replaces(self) -> bool:
        """Whether this change needs a new resource."""
        return self.value.endswith("-replace")

    def as_replace(self) -> "Kind":
        """Return the same change, needing a new resource."""
        return self if self.replaces else Kind(f"{self.value}-replace")


@dataclass(frozen=True, slots=True)
class Difference:
    """One changed place with its values; MISSING where there is none."""

    path: paths.Path
    kind: Kind
    old: Any
    new: Any
    in_inputs: bool = False
    """Whether the old value comes from the inputs, not from the outputs."""


def compare(old: Any, new: Any, path: paths.Path = ()) -> Iterator[Difference]:
    """Yield the differences from `old` to `new`, keys in order, lists index by index."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from compare(
                old.get(key, paths.MISSING), new.get(key, paths.MISSING), (*path, key)
            )
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            was = old[index] if index < len(old) else paths.MISSING
            now = new[index] if index < len(new) else paths.MISSING
            yield from compare(was, now, (*path, index))
    elif old is paths.MISSING:
        yield Difference(path, Kind.ADD, old, new)
    elif new is paths.MISSING:
        yield Difference(path, Kind.DELETE, old, new)
    elif not equal(old, new):
        yield Difference(path, Kind.UPDATE, old, new)


def equal(left: Any, right: Any) -> bool:
    """Compare as JSON does: 1 equals 1.0, but true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def of_inputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Compare inputs whose provider does not say itself what changed; secret marks do not count.

    What is secret on either side is marked so again in the differences.
    """
    secret = (*secret_places(old), *secret_places(new))
    found = compare(values.reveal(dict(old)), values.reveal(dict(new)))
    return tuple(hidden(replace(each, in_inputs=True), secret) for each in found)


def secret_places(value: Any, place: paths.Path = ()) -> Iterator[paths.Path]:
    """Yield where a value is secret."""
    if values.is_secret(value):
        yield place
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from secret_places(each, (*place, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from secret_places(each, (*place, index))


def hidden(difference: Difference, secret: Sequence[paths.Path]) -> Difference:
    """Mark the values of a difference secret when one of the *secret* places touches it."""
    touches = any(
        paths.covers(place, difference.path) or paths.covers(difference.path, place)
        for place in secret
    )
    if not touches:
        return difference
    return replace(difference, old=_marked(difference.old), new=_marked(difference.new))


def _marked(value: Any) -> Any:
    return value if value is paths.MISSING else values.secret(value)
