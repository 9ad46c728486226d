"""What to do with a resource, decided from values alone.

Source: pulumi pkg/resource/deploy/step_generator.go (3.272): the order of the questions is theirs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bex_stack.engine import differences, goals, paths, providers, state, values
from bex_stack.engine.events import Operation


@dataclass(frozen=True, slots=True)
class Decision:
    """One resource's step."""

    operation: Operation
    delete_before_replace: bool = False
    reasons: tuple[str, ...] = ()
    """Properties that force a replacement."""
    details: tuple[differences.Difference, ...] = ()
    notes: tuple[str, ...] = ()
    """What differs besides the inputs, in words."""


def for_component(old: state.Resource | None, goal: goals.Goal) -> Decision:
    """Decide for a resource without a provider: it only has inputs to compare."""
    if old is None:
        return Decision(Operation.CREATE)
    details = differences.of_inputs(old.inputs, goal.inputs)
    return Decision(Operation.UPDATE if details else Operation.SAME, details=details)


def for_custom(
    old: state.Resource,
    goal: goals.Goal,
    inputs: values.Properties,
    diffed: providers.Diffed,
) -> Decision:
    """Decide for an existing custom resource after its provider compared it."""
    diffed = _complete(old, goal, inputs, diffed)
    details, reasons = _apply_replace_on_changes(goal, diffed)
    changed = bool(diffed.changes)
    if old.taint:
        changed, reasons = True, (*reasons, "taint")
    if old.pending_replacement or (changed and reasons):
        before = diffed.delete_before_replace
        if goal.delete_before_replace is not None:
            before = goal.delete_before_replace
        return Decision(Operation.REPLACE, before, reasons, details, diffed.reasons)
    if changed or old.init_errors:
        notes = (*diffed.reasons, *old.init_errors)
        return Decision(Operation.UPDATE, details=details, notes=notes)
    return Decision(Operation.SAME)


def reset_ignored(
    old: state.Resource | None, inputs: values.Properties, ignored: Iterable[str]
) -> values.Properties:
    """Return inputs with everything under ignoreChanges put back to its old value."""
    if old is None:
        return inputs
    for text in ignored:
        inputs = paths.reset(old.inputs, inputs, paths.parse(text))
    return inputs


def inherited(goal: goals.Goal, parent: goals.Goal | None) -> goals.Goal:
    """Fill options that follow the parent when the resource itself does not say."""
    return replace(
        goal,
        protect=goal.protect if goal.protect is not None else parent.protect if parent else None,
        retain_on_delete=(
            goal.retain_on_delete
            if goal.retain_on_delete is not None
            else parent.retain_on_delete
            if parent
            else None
        ),
        deleted_with=goal.deleted_with or (parent.deleted_with if parent else ""),
    )


def _complete(
    old: state.Resource, goal: goals.Goal, inputs: values.Properties, diffed: providers.Diffed
) -> providers.Diffed:
    """Compare inputs where the provider left that to the engine."""
    if diffed.changes is not None:
        return diffed
    details = tuple(
        each
        for each in differences.of_inputs(old.inputs, inputs)
        if not any(paths.covers(paths.parse(text), each.path) for text in goal.ignore_changes)
    )
    return replace(diffed, changes=bool(details), details=details)


def _apply_replace_on_changes(
    goal: goals.Goal, diffed: providers.Diffed
) -> tuple[tuple[differences.Difference, ...], tuple[str, ...]]:
    patterns = [paths.parse(text) for text in goal.replace_on_changes]
    details = tuple(
        replace(each, kind=each.kind.as_replace())
        if any(paths.covers(pattern, each.path) for pattern in patterns)
        else each
        for each in diffed.details or ()
    )
    reasons = list(diffed.replaces)
    for each in details:
        text = paths.render(each.path)
        if each.kind.replaces and text not in reasons:
            reasons.append(text)
    return details, tuple(reasons)
