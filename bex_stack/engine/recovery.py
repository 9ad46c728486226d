"""Takes up operations that an earlier run began and did not end.

A create is looked for and adopted when it is there and ours; everything else is simply done again:
updates and deletes are repeatable, and dynamic creates have to be.
"""

from dataclasses import replace

from bex_stack.engine import backend, errors, run, state, steps, urns


def settle(current: run.Run, *, otherwise: str = "it is created again") -> None:
    """Settle every pending operation of the state, saying what was done.

    `otherwise` says what becomes of a create that left nothing to be found.
    """
    for pending in current.snapshot.pending():
        _settle(current, pending, otherwise)


def _settle(current: run.Run, pending: state.Pending, otherwise: str) -> None:
    resource = pending.resource
    name = f"{resource.type} {urns.name_of(resource.urn)!r}"
    if pending.kind == "creating":
        found = _take_up(current, resource, otherwise)
        say = f"{name}: an earlier run was stopped while creating it; {found}"
    else:
        say = f"{name}: an earlier run was stopped while {pending.kind} it; it is looked at again"
    current.snapshot.settle(pending)
    current.reporter.say(say, severity="warning", urn=resource.urn)


def _take_up(current: run.Run, resource: state.Resource, otherwise: str) -> str:
    """Adopt what a create left behind; return what was done in words."""
    old = current.snapshot.find(resource.urn)
    if old is not None and _is_result(old, resource):
        return "it had been recorded"
    if not resource.custom or urns.is_provider_type(resource.type):
        return "nothing was left outside"
    subject = steps.subject_of(resource, "create", None)
    try:
        found = current.provider_of(resource).find_created(subject, resource.inputs)
    except errors.ProviderError as exc:
        return f"it could not be looked for ({exc}); {otherwise}"
    if found is None:
        return otherwise
    now = backend.now()
    adopted = replace(
        resource,
        id=found.id,
        outputs=found.outputs,
        created=now,
        modified=now,
        # Its readiness was never seen: the next step waits for it.
        init_errors=("the run that created it was stopped",),
    )
    if old is not None and not old.pending_replacement:
        current.snapshot.swap(old, replace(old, delete=True))
    current.snapshot.adopt(adopted, old if old is not None and old.pending_replacement else None)
    return f"{found.id} exists and was adopted"


def _is_result(recorded: state.Resource, wanted: state.Resource) -> bool:
    return recorded.inputs == wanted.inputs and not recorded.pending_replacement
