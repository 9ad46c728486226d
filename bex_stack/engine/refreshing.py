"""Brings the state in line with what exists outside, without changing anything there."""

from concurrent import futures
from dataclasses import replace

from bex_stack.engine import backend, differences, run, state, steps, urns, values
from bex_stack.engine.decisions import Decision
from bex_stack.engine.events import Operation


def refresh(current: run.Run) -> None:
    """Read every resource; forget those that are gone, record what changed."""
    chosen = [
        each
        for each in current.snapshot.all()
        if each.custom and not each.delete and not urns.is_provider_type(each.type)
    ]
    if not chosen:
        return
    with futures.ThreadPoolExecutor(max_workers=min(len(chosen), 16)) as pool:
        tasks = [pool.submit(_refresh_one, current, each) for each in chosen]
    for task in tasks:
        task.result()
    current.snapshot.flush()


def _refresh_one(current: run.Run, old: state.Resource) -> None:
    current.ensure_going()
    subject = steps.subject_of(old, "read", None)
    provider = current.provider_of(old)
    found = provider.read(subject, old.id, old.inputs, old.outputs)
    if found is None:
        decision = Decision(Operation.DELETE)
        with current.reporter.step(old, decision):
            current.digest.add(decision, old, None)
            current.snapshot.remove(old)
        return
    outputs = values.mark_keys(found.outputs, old.additional_secret_outputs)
    inputs = old.inputs if found.inputs is None else found.inputs
    details = differences.of_inputs(old.outputs, outputs)
    operation = Operation.UPDATE if details or inputs != old.inputs else Operation.SAME
    new = replace(old, inputs=inputs, outputs=outputs)
    if operation is Operation.UPDATE:
        new = replace(new, modified=backend.now())
    with current.reporter.step(new, Decision(operation, details=details)):
        current.digest.add(Decision(operation, details=details), old, new)
        current.snapshot.swap(old, new)
