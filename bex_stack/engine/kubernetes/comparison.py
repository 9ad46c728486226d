"""What a program's change means for an object. Pure.

The last live object, cut to the shape of the last inputs, is compared with the new inputs: fields
that only the cluster fills in never show. Source: pulumi-kubernetes provider.go, Diff.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bex_stack.engine import differences, paths, providers, values
from bex_stack.engine.kubernetes import force_new, objects

_NOISE = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")


def prune(live: Any, shape: Any) -> Any:
    """Cut a live value to the fields its inputs had; what has another type is left whole."""
    if isinstance(live, dict) and isinstance(shape, dict):
        return {key: prune(live[key], shape[key]) for key in live if key in shape}
    if isinstance(live, list) and isinstance(shape, list):
        return [prune(have, want) for have, want in zip(live, shape, strict=False)]
    return live


def compare(
    outputs: values.Properties,
    new: values.Properties,
    *,
    patch: bool,
    ignored: tuple[str, ...],
    mutable: Mapping[str, bool],
) -> providers.Diffed:
    """Compare a resource's last outputs with new inputs."""
    old_inputs, live = objects.from_checkpoint(outputs)
    old_inputs = objects.normalize(old_inputs)
    wanted = objects.normalize(objects.from_inputs(new))
    before = _with_namespace(prune(live, old_inputs), live)
    after = _with_namespace(wanted, live)
    if objects.name_of(after):
        before["metadata"] = {**before.get("metadata", {}), "name": objects.name_of(live)}
    patterns = force_new.patterns(after, patch=patch, **mutable)
    skip = [paths.parse(each) for each in ignored]
    found = []
    for each in differences.compare(before, after):
        if _is_unchanged_input(each, old_inputs) or any(
            paths.covers(pattern, each.path) for pattern in skip
        ):
            continue
        found.append(_classified(each, patterns))
    reasons = tuple(paths.render(each.path) for each in found if each.kind.replaces)
    secret = tuple(differences.secret_places(new))
    details = tuple(_hide(each, secret, wanted) for each in found)
    return providers.Diffed(
        changes=bool(found),
        replaces=reasons,
        delete_before_replace=bool(reasons) and _same_place(wanted, live),
        details=details,
    )


def server_changes(live: objects.Object, planned: objects.Object) -> list[differences.Difference]:
    """Compare a live object with the result of a dry run: also what the server itself changes."""
    return [
        _hide(each, (), planned)
        for each in differences.compare(without_noise(live), without_noise(planned))
    ]


def without_noise(obj: objects.Object) -> objects.Object:
    """Return the object without status and the metadata that every write changes."""
    metadata = {k: v for k, v in (obj.get("metadata") or {}).items() if k not in _NOISE}
    kept = {key: value for key, value in obj.items() if key != "status"}
    return {**kept, "metadata": metadata}


def _with_namespace(obj: Any, live: objects.Object) -> Any:
    """Fill in the namespace the cluster filled in: leaving it out is no change."""
    namespace = objects.namespace_of(live)
    metadata = obj.get("metadata")
    if not namespace or not isinstance(metadata, dict) or metadata.get("namespace"):
        return dict(obj)
    return {**obj, "metadata": {**metadata, "namespace": namespace}}


def _is_unchanged_input(each: differences.Difference, old_inputs: objects.Object) -> bool:
    """Say whether the program asks for what it asked for before.

    The server then spells it its own way (a dropped `false`, a shortened quantity); asking again
    would change nothing.
    """
    if each.new is paths.MISSING:
        return False
    before = paths.get(old_inputs, each.path)
    return before is not paths.MISSING and not any(differences.compare(before, each.new))


def _classified(
    each: differences.Difference, patterns: tuple[paths.Path, ...]
) -> differences.Difference:
    gone = each.new is paths.MISSING
    value = None if gone else each.new
    each = replace(each, in_inputs=gone)
    whole_metadata = gone and each.path == ("metadata",)
    if whole_metadata or any(force_new.forces(want, each.path, value) for want in patterns):
        return replace(each, kind=each.kind.as_replace())
    return each


def _same_place(wanted: objects.Object, live: objects.Object) -> bool:
    """Say whether the new object must have the old one's very name, which the user chose."""
    name = objects.name_of(wanted)
    same_namespace = objects.namespace_of(wanted) in ("", objects.namespace_of(live))
    autonamed = objects.is_annotated(wanted, objects.AUTONAMED)
    return bool(name) and not autonamed and same_namespace and name == objects.name_of(live)


def _hide(
    each: differences.Difference, secret: tuple[paths.Path, ...], obj: objects.Object
) -> differences.Difference:
    """Mark the values of a difference secret when they are."""
    of_secret = obj.get("kind") == "Secret" and each.path[:1] in (("data",), ("stringData",))
    return differences.hidden(each, (each.path,) if of_secret else secret)
