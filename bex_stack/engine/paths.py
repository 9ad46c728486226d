"""Property paths such as `spec.template.containers[0].env["a.b"]`, as Pulumi writes them."""

from collections.abc import Sequence
from typing import Any

from bex_stack.engine import errors

Step = str | int
Path = tuple[Step, ...]

MISSING = object()
"""Stands for "no value there", which differs from null."""


def render(path: Sequence[Step]) -> str:
    """Write a path; keys that hold `.`, `"`, `[` or `]` are quoted."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif any(each in step for each in '."[]'):
            escaped = step.replace('"', '\\"')
            text += f'["{escaped}"]'
        else:
            text += f".{step}" if text else step
    return text


def parse(text: str) -> Path:
    """Read a path; `*` stands for any key or index.

    Raises: ProjectError when brackets or quotes do not match.
    """
    steps: list[Step] = []
    rest = text
    while rest:
        if rest.startswith("["):
            step, rest = _bracket(rest, text)
            steps.append(step)
        else:
            rest = rest.removeprefix(".")
            end = min((i for i in (rest.find("."), rest.find("[")) if i >= 0), default=len(rest))
            steps.append(rest[:end])
            rest = rest[end:]
    return tuple(steps)


def _bracket(rest: str, whole: str) -> tuple[Step, str]:
    if rest.startswith('["'):
        end = 2
        while end < len(rest) and rest[end] != '"':
            end += 2 if rest[end] == "\\" else 1
        if rest[end : end + 2] != '"]':
            raise errors.ProjectError(f'property path {whole!r}: a `["` is not closed by `"]`')
        return rest[2:end].replace('\\"', '"'), rest[end + 2 :]
    end = rest.find("]")
    inner = rest[1:end]
    if end < 0 or not (inner == "*" or inner.isdigit()):
        raise errors.ProjectError(
            f"property path {whole!r}: `[` wants an index, `*` or a quoted key"
        )
    return (inner if inner == "*" else int(inner)), rest[end + 1 :]


def covers(pattern: Path, path: Path) -> bool:
    """Say whether `path` is the place `pattern` names, or lies below it."""
    if len(pattern) > len(path):
        return False
    return all(
        want in ("*", have) for want, have in zip(pattern, path[: len(pattern)], strict=True)
    )


def get(value: Any, path: Path) -> Any:
    """Return the value at the path, or MISSING."""
    for step in path:
        if isinstance(step, int):
            inside = isinstance(value, list) and step < len(value)
        else:
            inside = isinstance(value, dict) and step in value
        if not inside:
            return MISSING
        value = value[step]
    return value


def reset(old: Any, new: Any, path: Path) -> Any:
    """Return `new` with what the path names put back as it is in `old`.

    Where one of the two lacks the place it is added or removed; a missing parent changes nothing.
    """
    if not path:
        return old
    step, rest = path[0], path[1:]
    if step == "*":
        return _reset_all(old, new, rest)
    if isinstance(step, int):
        return _reset_index(old, new, step, rest)
    return _reset_key(old, new, step, rest)


def _reset_key(old: Any, new: Any, key: str, rest: Path) -> Any:
    if not isinstance(new, dict) or not isinstance(old, dict):
        return new
    if not rest and key not in old:
        return {each: value for each, value in new.items() if each != key}
    if key not in old or (rest and key not in new):
        return new
    return {**new, key: reset(old[key], new.get(key), rest)}


def _reset_index(old: Any, new: Any, index: int, rest: Path) -> Any:
    if isinstance(new, list) and isinstance(old, list) and index < min(len(new), len(old)):
        return [*new[:index], reset(old[index], new[index], rest), *new[index + 1 :]]
    return new


def _reset_all(old: Any, new: Any, rest: Path) -> Any:
    if isinstance(new, dict) and isinstance(old, dict):
        if not rest:
            return old
        return {key: reset(old[key], new[key], rest) if key in old else new[key] for key in new}
    if isinstance(new, list) and isinstance(old, list):
        if not rest:
            return old
        kept = [reset(was, now, rest) for was, now in zip(old, new, strict=False)]
        return [*kept, *new[len(kept) :]]
    return new
