"""Does what was decided for one resource: calls the provider, records the result, reports it.

Order inside every step: note the operation as begun, act, note the result. All of it is on disk
before the caller goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bex_stack.engine import backend, errors, providers, reporting, run, state, values
from bex_stack.engine.decisions import Decision
from bex_stack.engine.events import Operation


def same(current: run.Run, new: state.Resource, old: state.Resource) -> state.Resource:
    """Keep a resource as it is, under its new options."""
    kept = replace(new, id=old.id, outputs=old.outputs, created=old.created, modified=old.modified)
    with current.reporter.step(kept, reporting.SAME):
        current.digest.add(reporting.SAME, old, _promised(new, old))
        current.snapshot.put(kept, old)
    return kept


def create(
    current: run.Run,
    provider: providers.Provider | None,
    new: state.Resource,
    decision: Decision,
    replaced: state.Resource | None = None,
) -> state.Resource:
    """Create a resource, perhaps to replace one that stays until the end or is gone already."""
    with current.reporter.step(new, decision) as step:
        if replaced is None:
            current.digest.add(decision, None, new)
        subject = subject_of(new, "create", step)
        with current.snapshot.operation("creating", new):
            if provider is None:
                made = _Attempt(providers.Made("", {}))
            else:
                made = _attempt(
                    lambda: provider.create(subject, new.inputs, preview=current.dry_run)
                )
            now = backend.now()
            step.add_changes(made.made.planned)
            done = _finish(replace(new, created=now, modified=now), made)
            gone = replaced if replaced and replaced.pending_replacement else None
            current.snapshot.put(done, gone)
            if replaced is not None and gone is None:
                condemned = replace(replaced, delete=True)
                current.snapshot.swap(replaced, condemned)
                current.digest.add(decision, condemned, replace(done, id=""))
        _ensure_ready(made)
    return done


def update(
    current: run.Run,
    provider: providers.Provider | None,
    new: state.Resource,
    old: state.Resource,
    decision: Decision,
) -> state.Resource:
    """Bring a resource to its new inputs in place."""
    new = replace(new, id=old.id, created=old.created, modified=old.modified)
    with current.reporter.step(new, decision) as step:
        # As in the CLI's document: the id is the result's, which a plan does not have.
        current.digest.add(decision, old, replace(new, id=""))
        subject = subject_of(new, "update", step)
        with current.snapshot.operation("updating", new):
            if provider is None:
                made = _Attempt(providers.Made("", old.outputs))
            else:
                before = (old.inputs, old.outputs)
                made = _attempt(
                    lambda: provider.update(
                        subject, old.id, before, new.inputs, preview=current.dry_run
                    )
                )
            step.add_changes(made.made.planned)
            done = _finish(replace(new, modified=backend.now()), made)
            current.snapshot.put(done, old)
        _ensure_ready(made)
    return done


def delete_before_replace(
    current: run.Run, old: state.Resource, new: state.Resource | None, decision: Decision
) -> state.Resource:
    """Delete a resource that will be made anew; its record stays, marked as pending."""
    pending = replace(old, pending_replacement=True)
    if old.pending_replacement:
        return old
    if new is not None:
        promised = replace(new, created=old.created, modified=old.modified)
        current.digest.add(decision, pending, promised)
    with current.snapshot.operation("deleting", old):
        _delete(current, old, None)
        current.snapshot.swap(old, pending)
    return pending


def delete(current: run.Run, old: state.Resource) -> None:
    """Delete a resource that the program no longer has, or that was replaced."""
    decision = Decision(Operation.DELETE)
    if old.delete:
        # The replacement was counted when its successor was made.
        with current.snapshot.operation("deleting", old):
            _delete(current, old, None)
            current.snapshot.remove(old)
        return
    with current.reporter.step(old, decision) as step:
        current.digest.add(decision, old, None)
        with current.snapshot.operation("deleting", old):
            _delete(current, old, step)
            current.snapshot.remove(old)


def subject_of(
    resource: state.Resource, operation: str, step: reporting.Step | None
) -> providers.Subject:
    """Return what a provider needs to know about the resource."""
    return providers.Subject(
        urn=resource.urn,
        type=resource.type,
        name=resource.urn.split("::", 3)[3],
        timeout_seconds=resource.custom_timeouts.get(operation),
        ignore_changes=resource.ignore_changes,
        report=step.progress if step else (lambda _: None),
    )


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What a provider made, and why it is not ready if it is not."""

    made: providers.Made
    problem: str = ""


def _attempt(action: Callable[[], providers.Made]) -> _Attempt:
    try:
        return _Attempt(action())
    except errors.PartlyDone as exc:
        return _Attempt(providers.Made(exc.identifier, exc.outputs), str(exc))


def _finish(resource: state.Resource, attempt: _Attempt) -> state.Resource:
    """Record what was made; a problem is remembered so that the next run goes on waiting."""
    outputs = values.mark_keys(attempt.made.outputs, resource.additional_secret_outputs)
    return replace(
        resource,
        id=attempt.made.id,
        outputs=outputs,
        init_errors=(attempt.problem,) if attempt.problem else (),
    )


def _ensure_ready(attempt: _Attempt) -> None:
    if attempt.problem:
        raise errors.ProviderError(attempt.problem)


def _delete(current: run.Run, old: state.Resource, step: reporting.Step | None) -> None:
    """Delete outside, unless the resource has nothing there or is to be left alone."""
    skipped = (
        not old.custom
        or old.external
        or old.retain_on_delete
        or old.pending_replacement
        or old.deleted_with in current.deleted
        or current.dry_run
    )
    if skipped:
        return
    provider = current.provider_of(old)
    provider.delete(subject_of(old, "delete", step), old.id, old.inputs, old.outputs)


def _promised(new: state.Resource, old: state.Resource) -> state.Resource:
    return replace(new, created=old.created, modified=old.modified)
