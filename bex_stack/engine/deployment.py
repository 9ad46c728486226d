"""Takes a program's registrations one by one and brings each resource to what it asks for.

Called from the SDK's threads, several at once; what a resource depends on is always done before.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import replace

from bex_stack.engine import (
    decisions,
    deletions,
    errors,
    foreign,
    goals,
    providers,
    registry,
    run,
    state,
    steps,
    urns,
    values,
)
from bex_stack.engine.decisions import Decision
from bex_stack.engine.events import Operation


class Deployment:
    """The resources of one run of the program."""

    def __init__(self, current: run.Run) -> None:
        self._run = current
        self._goals: dict[str, goals.Goal] = {}
        self._aliased: dict[str, str] = {}
        self._aliases: dict[str, tuple[str, ...]] = {}
        self._replaced: set[str] = set()
        self._lock = threading.Lock()
        self._defaults = threading.Lock()

    def announce(self, type_token: str, find_place: Callable[[], str]) -> None:
        """Take note of a resource that the program has made and not registered yet.

        A program makes most of its resources before the first registration is answered: what
        cannot be managed here is known before anything is touched.
        """
        if type_token not in self._run.foreign and not self._run.registry.manages(type_token):
            self._run.foreign[type_token] = find_place()

    def register(self, goal: goals.Goal) -> state.Resource:
        """Bring one resource to its goal and return it as it is then.

        Raises: Unsupported, Refused, ResourceFailed, or Interrupted when the run is ending.
        """
        self._run.ensure_going()
        try:
            self._ensure_manageable(goal)
            with self._lock:
                goal = decisions.inherited(goal, self._goals.get(goal.parent))
                urn, old = self._claim(goal)
            with self._run.parallel:
                self._run.ensure_going()
                if not goal.custom:
                    return self._component(urn, old, goal)
                return self._custom(urn, old, goal)
        except errors.Interrupted:
            raise
        except errors.EngineError as exc:
            self._run.failed.set()
            _report(self._run, exc)
            raise

    def read(self, goal: goals.Goal, identifier: str) -> state.Resource:
        """Record an existing resource that the program only looks at.

        Raises: ResourceFailed when there is no such resource.
        """
        self._run.ensure_going()
        self._ensure_manageable(goal)
        with self._lock:
            urn, old = self._claim(goal)
        record = self._provider_record(goal)
        provider = self._run.registry.load(record, goal.type)
        new = replace(
            _record(urn, goal, old),
            id=identifier,
            external=True,
            provider=str(urns.ProviderReference(record.urn, record.id)),
        )
        with self._run.reporter.step(new, Decision(Operation.READ)) as step:
            found: providers.Made | None = providers.Made(identifier, {})
            if not values.is_unknown(identifier):
                subject = steps.subject_of(new, "create", step)
                found = provider.read(subject, identifier, goal.inputs or None, None)
            if found is None:
                raise errors.ProviderError(f"there is no such resource: {identifier}")
            outputs = values.mark_keys(found.outputs, goal.additional_secret_outputs)
            done = replace(new, outputs=outputs)
            self._run.snapshot.put(done, old)
        return done

    def register_outputs(self, urn: str, outputs: values.Properties) -> None:
        """Record what a component or the stack says its outputs are."""
        resource = self._run.snapshot.find(urn)
        if resource is None:
            raise errors.ProgramFailed(
                f"outputs were registered for {urn}, which is not registered"
            )
        self._run.snapshot.swap(resource, replace(resource, outputs=outputs))

    def delete_rest(self) -> None:
        """Delete what the program no longer registers and what was replaced.

        Raises: Refused before anything is deleted when one of them is protected.
        """
        delete_all(self._run, self._run.snapshot.remaining())

    def _ensure_manageable(self, goal: goals.Goal) -> None:
        """Refuse the whole run when a resource of it needs the CLI; a preview goes on.

        Raises: NeedsCli.
        """
        if goal.remote or (goal.custom and not self._run.registry.manages(goal.type)):
            self._run.foreign.setdefault(goal.type, goal.position)
        if self._run.foreign and not self._run.dry_run:
            raise foreign.refusal(self._run.foreign, self._run.command)

    def _claim(self, goal: goals.Goal) -> tuple[str, state.Resource | None]:
        """Give the goal its URN and find the resource it had in the last run."""
        urn = urns.make(self._run.stack, self._run.project.name, goal.parent, goal.type, goal.name)
        if urn in self._goals or urn in self._aliased:
            raise errors.ProgramFailed(
                f"duplicate resource: {goal.type} {goal.name!r} is registered twice ({urn})"
                + (f" at {goal.position}" if goal.position else "")
            )
        self._goals[urn] = goal
        # The SDK sends a child the aliases it has of its own only.
        parents = self._aliases.get(goal.parent, ())
        inherited = [
            urns.inherited_alias(goal.type, goal.name, goal.parent, each) for each in parents
        ]
        aliases = self._aliases[urn] = (*goal.aliases, *inherited)
        by_urn = {each.urn: each for each in self._run.snapshot.remaining() if not each.delete}
        if urn in by_urn:
            return urn, by_urn[urn]
        for alias in aliases:
            if alias in by_urn and alias not in self._goals:
                self._aliased[alias] = urn
                self._run.snapshot.rename(alias, urn)
                return urn, by_urn[alias]
        return urn, None

    def _component(self, urn: str, old: state.Resource | None, goal: goals.Goal) -> state.Resource:
        new = _record(urn, goal, old)
        decision = decisions.for_component(old, goal)
        if old is None:
            return steps.create(self._run, None, new, decision)
        if decision.operation is Operation.SAME:
            return steps.same(self._run, new, old)
        return steps.update(self._run, None, new, old, decision)

    def _custom(self, urn: str, old: state.Resource | None, goal: goals.Goal) -> state.Resource:
        new = _record(urn, goal, old)
        if urns.is_provider_type(goal.type):
            provider: providers.Provider = self._run.registry
            inputs = registry.provider_inputs(goal.inputs, goal.version)
            goal = replace(goal, inputs=inputs)
        else:
            record = self._provider_record(goal)
            provider = self._run.registry.load(record, goal.type)
            new = replace(new, provider=str(urns.ProviderReference(record.urn, record.id)))
        if old is not None and old.external:
            self._run.snapshot.remove(old)
            old = None
        usable = old if old is not None and not old.pending_replacement else None
        wanted = decisions.reset_ignored(usable, goal.inputs, goal.ignore_changes)
        new = replace(new, inputs=self._check(provider, new, usable, wanted))
        if old is None:
            return steps.create(self._run, provider, new, Decision(Operation.CREATE))
        if old.pending_replacement:
            decision = Decision(Operation.REPLACE, delete_before_replace=True)
            self._replaced.add(urn)
            return steps.create(self._run, provider, new, decision, old)
        decision = self._decide(provider, new, old, goal)
        if decision.operation is Operation.SAME:
            return steps.same(self._run, new, old)
        if decision.operation is Operation.UPDATE:
            return steps.update(self._run, provider, new, old, decision)
        return self._replace(provider, new, old, goal, decision)

    def _check(
        self,
        provider: providers.Provider,
        new: state.Resource,
        old: state.Resource | None,
        inputs: values.Properties,
    ) -> values.Properties:
        subject = steps.subject_of(new, "create", None)
        with _named(new.urn, "check"):
            checked = provider.check(subject, old.inputs if old else None, inputs)
        if checked.failures:
            raise errors.ResourceFailed(new.urn, "check", "; ".join(checked.failures))
        return checked.inputs

    def _decide(
        self,
        provider: providers.Provider,
        new: state.Resource,
        old: state.Resource,
        goal: goals.Goal,
    ) -> Decision:
        if new.deleted_with in self._replaced:
            return Decision(Operation.REPLACE, reasons=("deletedWith",))
        if self._is_moved(old, new):
            return Decision(Operation.REPLACE, reasons=("provider",))
        subject = steps.subject_of(new, "update", None)
        with _named(new.urn, "diff"):
            diffed = provider.diff(subject, old.id, (old.inputs, old.outputs), new.inputs)
        return decisions.for_custom(old, goal, new.inputs, diffed)

    def _is_moved(self, old: state.Resource, new: state.Resource) -> bool:
        """Say whether another cluster than before is behind the resource's provider."""
        if old.provider == new.provider:
            return False
        before, after = urns.parse_provider(old.provider), urns.parse_provider(new.provider)
        if after.urn in self._replaced or not old.provider:
            return True
        if before.urn == after.urn:
            return False
        was, now = self._run.snapshot.find(before.urn), self._run.snapshot.find(after.urn)
        if was is None or now is None or was.type != now.type:
            return True
        subject = steps.subject_of(now, "update", None)
        diffed = self._run.registry.diff(subject, was.id, (was.inputs, was.outputs), now.inputs)
        return bool(diffed.replaces)

    def _replace(
        self,
        provider: providers.Provider,
        new: state.Resource,
        old: state.Resource,
        goal: goals.Goal,
        decision: Decision,
    ) -> state.Resource:
        if old.protect and new.protect:
            raise errors.Refused(
                f"{new.urn} is protected and cannot be replaced (because of "
                f"{', '.join(decision.reasons)}); take `protect` off first"
            )
        self._replaced.add(new.urn)
        new = replace(new, inputs=self._check(provider, new, None, goal.inputs))
        if not decision.delete_before_replace:
            return steps.create(self._run, provider, new, decision, old)
        # Set first: what goes with `old` is not deleted by itself.
        self._run.deleted.add(old.urn)
        for dependent in reversed(self._replaced_with(old)):
            if dependent.protect:
                raise errors.Refused(
                    f"{dependent.urn} is protected and would have to be replaced with {new.urn}"
                )
            steps.delete_before_replace(self._run, dependent, None, decision)
        gone = steps.delete_before_replace(self._run, old, new, decision)
        return steps.create(self._run, provider, new, decision, gone)

    def _replaced_with(self, root: state.Resource) -> list[state.Resource]:
        """Return the dependents that a deleted `root` would force to be replaced, in order."""
        affected = {root.urn}
        found = []
        for each in deletions.dependents(root, self._run.snapshot.remaining()):
            if each.custom and not each.external and self._needs_replacement(each, affected):
                affected.add(each.urn)
                found.append(each)
        return found

    def _needs_replacement(self, resource: state.Resource, affected: set[str]) -> bool:
        if resource.provider and urns.parse_provider(resource.provider).urn in affected:
            return True
        if resource.deleted_with in affected:
            return True
        inputs = {
            key: values.UNKNOWN
            if affected.intersection(resource.property_dependencies.get(key, ()))
            else value
            for key, value in resource.inputs.items()
        }
        if not values.has_unknowns(inputs):
            return False
        provider = self._run.provider_of(resource)
        subject = steps.subject_of(resource, "update", None)
        before = (resource.inputs, resource.outputs)
        diffed = provider.diff(subject, resource.id, before, inputs)
        return bool(diffed.changes and diffed.replaces)

    def _provider_record(self, goal: goals.Goal) -> state.Resource:
        """Return the provider resource a goal names, or its package's default one."""
        if goal.provider:
            reference = urns.parse_provider(goal.provider)
            record = self._run.snapshot.find(reference.urn)
            if record is None:
                raise errors.ProgramFailed(
                    f"{goal.name}: provider {reference.urn} is not registered"
                )
            return record
        with self._defaults:
            return self._default_provider(urns.package_of(goal.type), goal.version)

    def _default_provider(self, package: str, version: str) -> state.Resource:
        kind = urns.PROVIDER_PREFIX + package
        name = registry.default_name(version)
        urn = urns.make(self._run.stack, self._run.project.name, "", kind, name)
        with self._lock:
            if urn in self._goals:
                known = self._run.snapshot.find(urn)
                if known is not None:
                    return known
        config = self._run.configuration
        inputs = registry.default_inputs(package, version, config.values, config.secret_keys)
        goal = goals.Goal(type=kind, name=name, custom=True, inputs=inputs)
        with self._lock:
            urn, old = self._claim(goal)
        return self._custom(urn, old, goal)


def delete_all(current: run.Run, condemned: list[state.Resource]) -> None:
    """Delete resources, dependents first, independent ones at once."""
    for resource in condemned:
        if resource.protect and not resource.delete:
            raise errors.Refused(
                f"{resource.urn} is protected and cannot be deleted; take `protect` off first"
            )
    current.deleted.update(each.urn for each in condemned)
    for group in deletions.schedule(condemned, current.snapshot.all()):
        current.ensure_going()
        _delete_group(current, group)
        current.snapshot.flush()


def _report(current: run.Run, exc: errors.EngineError) -> None:
    if isinstance(exc, errors.ResourceFailed):
        current.reporter.fail(exc.urn, exc.reason)
    else:
        current.reporter.fail("", str(exc))


def _delete_group(current: run.Run, group: list[state.Resource]) -> None:
    with futures.ThreadPoolExecutor(max_workers=min(len(group), 16)) as pool:
        tasks = [pool.submit(steps.delete, current, each) for each in group]
    problems = [error for task in tasks if (error := task.exception()) is not None]
    if problems:
        current.failed.set()
        raise problems[0]


def _record(urn: str, goal: goals.Goal, old: state.Resource | None) -> state.Resource:
    """Start a resource's record from what the program asks for."""
    return state.Resource(
        urn=urn,
        type=goal.type,
        custom=goal.custom,
        inputs=goal.inputs,
        parent=goal.parent,
        protect=bool(goal.protect),
        dependencies=goal.dependencies,
        property_dependencies=goal.property_dependencies,
        additional_secret_outputs=goal.additional_secret_outputs,
        aliases=(old.urn,) if old is not None and old.urn != urn else (),
        custom_timeouts=goal.custom_timeouts,
        retain_on_delete=bool(goal.retain_on_delete),
        deleted_with=goal.deleted_with,
        ignore_changes=goal.ignore_changes,
        replace_on_changes=goal.replace_on_changes,
    )


@contextlib.contextmanager
def _named(urn: str, operation: str) -> Iterator[None]:
    """Give provider errors inside the block the resource's name."""
    try:
        yield
    except errors.ProviderError as exc:
        raise errors.ResourceFailed(urn, operation, str(exc)) from exc
