"""Runs a project's program against a stack: up, preview, destroy, refresh, outputs.

An embedded engine for a supported subset; anything else is refused by name. See the package.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bex_stack.engine import (
    backend,
    deployment,
    errors,
    events,
    foreign,
    history,
    imports,
    interruptions,
    lock,
    passphrase,
    previews,
    project,
    recovery,
    refreshing,
    registry,
    reporting,
    run,
    snapshot,
    state,
    urns,
    values,
)


class Engine:
    """One stack of one project, its state in `backend_dir` (see `pulumi login file://`).

    `on_event` is called for everything that happens, one call at a time, from several threads.
    Every method raises the errors of `bex_stack.engine.errors` when it could not begin (project,
    state, secrets, lock); once begun, what failed is in the Result.
    """

    def __init__(
        self,
        project_dir: Path,
        stack: str,
        *,
        backend_dir: Path,
        config_file: Path | None = None,
        config_overrides: Mapping[str, str] | None = None,
        parallel: int = 16,
        on_event: events.Listener | None = None,
    ) -> None:
        self._project_dir = Path(project_dir).resolve()
        self._stack = stack
        self._root = Path(backend_dir).absolute()
        self._config_file = config_file
        self._overrides = dict(config_overrides or {})
        self._parallel = parallel
        self._listener = on_event

    def up(self) -> events.Result:
        """Bring everything to what the program asks for and delete what it no longer has."""
        return self._run("up", dry_run=False, work=self._program_work)

    def preview(self) -> events.Result:
        """Say what up would do; `digest` holds the document of `pulumi preview --json`."""
        return self._run("up", dry_run=True, work=self._program_work)

    def destroy(self) -> events.Result:
        """Delete every resource of the stack, dependents first."""
        return self._run("destroy", dry_run=False, work=_destroy_work)

    def preview_destroy(self) -> events.Result:
        """Say what destroy would delete."""
        return self._run("destroy", dry_run=True, work=_destroy_work)

    def refresh(self) -> events.Result:
        """Bring the state in line with what exists."""
        return self._run("refresh", dry_run=False, work=refreshing.refresh)

    def outputs(self, *, show_secrets: bool = False) -> dict[str, Any]:
        """Return the stack's outputs as of the last up; empty for a stack that does not exist."""
        imports.warm_up()
        found = project.load_project(self._project_dir)
        files = self._files(found)
        stored = backend.read(files)
        if stored is None:
            return {}
        crypter = None
        if stored.salt:
            secret = self._passphrase(make=False)
            crypter = passphrase.open_state(secret, stored.salt, str(files.state))
        resources = backend.decode(stored, crypter, files).resources
        return _stack_outputs(resources, show_secrets=show_secrets)

    def remove_stack(self) -> None:
        """Delete the stack's state, backups and history.

        Raises: StateError while it still has resources, StateLocked while another run works on it.
        """
        found = project.load_project(self._project_dir)
        files = self._files(found)
        with lock.held(files.locks, lambda _: None):
            stored = backend.read(files)
            if stored is not None and stored.deployment.get("resources"):
                raise errors.StateError(
                    f"stack {self._stack!r} still has resources; destroy it first"
                )
            backend.remove(files)

    def _run(self, verb: str, *, dry_run: bool, work: Callable[[run.Run], None]) -> events.Result:
        started, began = time.monotonic(), time.time()
        imports.warm_up()
        reporter = reporting.Reporter(self._listener)
        found = project.load_project(self._project_dir)
        stack_file = project.load_stack(found, self._stack, self._config_file)
        files = self._files(found)
        held = contextlib.nullcontext() if dry_run else lock.held(files.locks, reporter.say)
        with held:
            current = self._prepare(found, stack_file, files, reporter, verb, dry_run=dry_run)
            if not dry_run:
                _ensure_manageable(current)
                backend.back_up(files)
            with (
                contextlib.chdir(found.working_directory),
                imports.importable(found.main),
                interruptions.watched(current.stopping, reporter.say),
            ):
                interrupted = _attempt(current, work)
            current.registry.close()
            if not dry_run:
                failed = interrupted or bool(reporter.failures)
                recorded = project.recorded(found, stack_file)
                history.record(files, verb, began, recorded, reporter.counts, failed=failed)
        if dry_run and current.foreign:
            reporter.say(str(foreign.refusal(current.foreign, current.command)))
        seconds = time.monotonic() - started
        config = current.configuration.masked()
        digest = current.digest.document(config, reporter.diagnostics, reporter.counts, seconds)
        return events.Result(
            changes=reporter.counts,
            outputs=_stack_outputs(current.snapshot.all(), show_secrets=False),
            seconds=seconds,
            failures=reporter.failures,
            interrupted=interrupted,
            digest=digest if dry_run else {},
        )

    def _prepare(
        self,
        found: project.Project,
        stack_file: project.StackFile,
        files: backend.StackFiles,
        reporter: reporting.Reporter,
        verb: str,
        *,
        dry_run: bool,
    ) -> run.Run:
        """Read and decrypt everything; nothing is changed before all of it is good."""
        stored = backend.read(files)
        writes = not dry_run and (verb == "up" or stored is not None)
        of_config, of_state, crypter = self._crypters(stack_file, stored, files, makes=writes)
        configuration = project.configuration(found, stack_file, self._overrides, of_config)
        recorded = state.Deployment()
        if stored is not None:
            recorded = backend.decode(stored, of_state, files)
        stopping = threading.Event()

        def warn(message: str) -> None:
            reporter.say(message, severity="warning")

        return run.Run(
            project=found,
            stack=self._stack,
            configuration=configuration,
            snapshot=snapshot.Snapshot(files, recorded, crypter, dry_run=dry_run),
            registry=self._registry(found, stopping, warn if dry_run else None),
            reporter=reporter,
            digest=previews.Digest(),
            dry_run=dry_run,
            parallel=threading.Semaphore(self._parallel),
            stopping=stopping,
            command=foreign.command(verb, found, files, stack_file.path, stored is not None),
        )

    def _crypters(
        self,
        stack_file: project.StackFile,
        stored: backend.Stored | None,
        files: backend.StackFiles,
        *,
        makes: bool,
    ) -> tuple[passphrase.Crypter | None, passphrase.Crypter | None, passphrase.Crypter]:
        """Open the secrets of the stack file and of the state; the third seals what is written."""
        is_sealed = bool(stack_file.salt or (stored is not None and stored.salt))
        secret = self._passphrase(make=makes and not is_sealed)
        of_config = None
        if stack_file.salt:
            of_config = passphrase.open_state(secret, stack_file.salt, str(stack_file.path))
        of_state = of_config
        if stored is not None and stored.salt and stored.salt != stack_file.salt:
            of_state = passphrase.open_state(secret, stored.salt, str(files.state))
        return of_config, of_state, of_config or of_state or passphrase.create(secret)

    def _registry(
        self,
        found: project.Project,
        stopping: threading.Event,
        warn: Callable[[str], None] | None,
    ) -> registry.Registry:
        """Return the providers there are; their modules load when a program needs them.

        A preview has *warn* be told what it could not find out.
        """

        def dynamic_provider(config: values.Properties) -> Any:
            from bex_stack.engine import dynamic

            return dynamic.DynamicProvider(found.name, config)

        def kubernetes_provider(config: values.Properties) -> Any:
            from bex_stack.engine.kubernetes import configuration as settings
            from bex_stack.engine.kubernetes import provider

            return provider.KubernetesProvider(settings.from_inputs(config), stopping, warn)

        def builtin(config: values.Properties) -> Any:
            from bex_stack.engine import stack_references

            return stack_references.BuiltinProvider(
                self._root, found.name, self._passphrase(make=False)
            )

        return registry.Registry(
            {
                "pulumi-python": dynamic_provider,
                "kubernetes": kubernetes_provider,
                registry.BUILTIN: builtin,
            }
        )

    def _program_work(self, current: run.Run) -> None:
        from bex_stack.engine import monitor, program

        recovery.settle(current)
        resources = deployment.Deployment(current)
        watcher = monitor.Monitor(resources, dry_run=current.dry_run)
        program.run(
            program.Program(
                project=current.project,
                stack=self._stack,
                configuration=current.configuration,
                monitor=watcher,
                engine=monitor.Engine(current.reporter),
                parallel=self._parallel,
                dry_run=current.dry_run,
            )
        )
        current.ensure_going()
        resources.delete_rest()

    def _files(self, found: project.Project) -> backend.StackFiles:
        return backend.StackFiles(self._root, found.name, self._stack)

    def _passphrase(self, *, make: bool) -> str:
        return passphrase.find(self._root, os.environ, make=make)


def _ensure_manageable(current: run.Run) -> None:
    """Refuse to work on a state with resources that only the CLI can manage.

    Raises: NeedsCli.
    """
    found = {
        each.type: ""
        for each in current.snapshot.all()
        if each.custom and not current.registry.manages(each.type)
    }
    if found:
        raise foreign.refusal(found, current.command)


def _destroy_work(current: run.Run) -> None:
    recovery.settle(current, otherwise="what it may have left is not recorded")
    deployment.delete_all(current, current.snapshot.all())


def _attempt(current: run.Run, work: Callable[[run.Run], None]) -> bool:
    """Do the work; record what failed. Returns whether a person stopped it."""
    try:
        work(current)
    except errors.Interrupted:
        pass
    except errors.NeedsCli:
        raise
    except errors.ResourceFailed as exc:
        current.reporter.fail(exc.urn, exc.reason)
    except errors.ProgramFailed as exc:
        current.reporter.fail("", str(exc))
        current.reporter.say(exc.trace, severity="debug")
    except errors.EngineError as exc:
        current.reporter.fail("", str(exc))
    except KeyboardInterrupt:
        current.stopping.set()
    finally:
        current.snapshot.flush()
    return current.stopping.is_set()


def _stack_outputs(
    resources: list[state.Resource] | tuple[state.Resource, ...], *, show_secrets: bool
) -> dict[str, Any]:
    stack = next((each for each in resources if each.type == urns.STACK_TYPE), None)
    if stack is None:
        return {}
    if show_secrets:
        return dict(values.reveal(stack.outputs))
    return dict(reporting.visible(stack.outputs))
