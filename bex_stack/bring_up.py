"""Brings a stack up, previews it, takes it down: host checks, toolchain, engine, apps, in order."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich import console as consoles

from bex_stack import errors, hosts, rendering, settings, stack_files, targets
from bex_stack.embedded import teardown
from bex_stack.engine import engine as engines
from bex_stack.engine import errors as engine_errors
from bex_stack.engine import events

Ask = Callable[[str], bool]

_NOT_BEGUN = (
    errors.BadSettings,
    errors.BadApp,
    errors.HostUnfit,
    errors.NotConfirmed,
    engine_errors.ProjectError,
    engine_errors.SecretsError,
    engine_errors.StateError,
)
"""What is raised while nothing has been touched yet."""


def up(target: targets.Target, console: consoles.Console, *, assume_yes: bool, ask: Ask) -> None:
    """Bring *target* up to date and wait until its apps answer.

    Raises:
        errors.HostUnfit: before anything is touched.
        errors.StackError: a resource failed, or an app does not answer.
        engine errors: the state cannot be used, or the program is refused.
    """
    view = rendering.RunView(console)
    engine = _engine(target, view.listen)
    if not target.is_embedded:
        _up_elsewhere(target, engine, console, assume_yes=assume_yes, ask=ask)
        return
    console.print(_headline(target), soft_wrap=True)
    engine.outputs()  # refuses a broken state or a wrong passphrase before the host is touched
    hosts.prepare(target, console, assume_yes=assume_yes)
    if not assume_yes:
        if not preview(target, console).changed:
            console.print("nothing to do")
        elif not ask("Do this?"):
            raise errors.NotConfirmed("not confirmed; nothing was changed")
    settings.home().mkdir(mode=0o700, parents=True, exist_ok=True)
    with view.shown(), _substrate_heard(view.listen):
        result = engine.up()
    _report(result, console)
    from bex_stack import answering  # its HTTP client is slow to import; machines start meanwhile

    asyncio.run(answering.wait(target, console))
    hosts.build_extras()


def _up_elsewhere(
    target: targets.Target,
    engine: engines.Engine,
    console: consoles.Console,
    *,
    assume_yes: bool,
    ask: Ask,
) -> None:
    """Bring up a stack whose machines live elsewhere, where nothing of it needs the pulumi CLI.

    Raises:
        engine_errors.NeedsCli: with the command that does it; nothing was touched.
    """
    if not assume_yes:
        if not preview(target, console).changed:
            console.print("nothing to do")
        elif not ask("Do this?"):
            raise errors.NotConfirmed("not confirmed; nothing was changed")
    _report(engine.up(), console)


def preview(target: targets.Target, console: consoles.Console) -> events.Result:
    """Show what `up` would do."""
    view = rendering.RunView(console, is_preview=True)
    # What the program itself prints is for people, too: with --json it must not mix with JSON.
    with view.shown(), contextlib.redirect_stdout(console.file):
        result = _engine(target, view.listen).preview()
    _report(result, console, "planned: ")
    return result


def destroy(
    target: targets.Target, console: consoles.Console, *, assume_yes: bool, ask: Ask
) -> events.Result:
    """Take *target* down and forget its state; nothing but the toolchain's cache is left."""
    view = rendering.RunView(console)
    engine = _engine(target, view.listen)
    if target.is_embedded:
        hosts.ensure_own(target)
    if not assume_yes:
        planned = rendering.RunView(console, is_preview=True)
        _report(_engine(target, planned.listen).preview_destroy(), console, "planned: ")
        if not ask(f"Destroy everything of stack {target.stack!r}?"):
            raise errors.NotConfirmed("not confirmed; nothing was changed")
    with view.shown(), _substrate_heard(view.listen):
        result = engine.destroy()
    _report(result, console)
    if target.is_embedded:
        teardown.destroy(target.instance)  # also what no state knows of: an interrupted first up
    engine.remove_stack()
    _forget_backend(target.backend, keeps_passphrase=stack_files.is_sealed(target.file))
    return result


def refresh(
    target: targets.Target, console: consoles.Console, *, assume_yes: bool, ask: Ask
) -> events.Result:
    """Read the real state of every resource into the stack's state."""
    view = rendering.RunView(console)
    engine = _engine(target, view.listen)
    if not assume_yes and not ask("Write the real state of every resource into the stack's state?"):
        raise errors.NotConfirmed("not confirmed; nothing was changed")
    with view.shown():
        result = engine.refresh()
    _report(result, console)
    return result


def outputs(target: targets.Target, *, show_secrets: bool) -> dict[str, Any]:
    """Read the outputs of the last `up`."""
    return dict(_engine(target, lambda _event: None).outputs(show_secrets=show_secrets))


def scale(
    target: targets.Target,
    workers: int,
    console: consoles.Console,
    *,
    assume_yes: bool,
    ask: Ask,
) -> None:
    """Set the number of worker machines in the stack file and bring the stack up.

    The file keeps its old text if the number is refused, or the run could not begin.
    """
    before = target.file.read_text()
    stack_files.set_config(target.file, "bex:workers", workers)
    try:
        scaled = targets.read(target.project, target.stack, target.file)
        up(scaled, console, assume_yes=assume_yes, ask=ask)
    except _NOT_BEGUN:
        target.file.write_text(before)
        raise


def _forget_backend(backend: Path, *, keeps_passphrase: bool) -> None:
    """Remove the backend and its generated passphrase with the last stack in it.

    A passphrase that a stack file belongs to is kept: the next `up` of that file needs it.
    """
    stacks = backend / ".pulumi/stacks"
    if any(file.is_file() for file in stacks.rglob("*.json")):
        return
    if keeps_passphrase:
        shutil.rmtree(backend / ".pulumi", ignore_errors=True)
        return
    shutil.rmtree(backend, ignore_errors=True)
    for folder in (backend.parent / "instances", backend.parent):
        with contextlib.suppress(OSError):  # not empty: something else of the user's is there
            folder.rmdir()


@contextlib.contextmanager
def _substrate_heard(listen: Callable[[events.Event], None]) -> Iterator[None]:
    """Show what drains and waits say: they run inside providers and can only log."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            listen(events.Diagnostic(record.levelname.lower(), record.getMessage()))

    logger, handler = logging.getLogger("bex.embedded"), Handler()
    earlier = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(earlier)


def _engine(target: targets.Target, listen: Callable[[events.Event], None]) -> engines.Engine:
    return engines.Engine(
        target.project,
        target.stack,
        backend_dir=target.backend,
        config_file=target.file,
        on_event=listen,
    )


def _headline(target: targets.Target) -> str:
    kind = (
        "real machines: namespaces of this host with their own containerd and kubelet"
        if target.embedded.machines == "real"
        else "simulated machines (KWOK), as bex:machines asks: no containers run"
    )
    return f"[bold]{target.stack}[/bold]: {kind}"


def _report(result: events.Result, console: consoles.Console, prefix: str = "") -> None:
    console.print(prefix + rendering.summary(result.changes, result.seconds))
    if result.interrupted:
        raise engine_errors.Interrupted("stopped; run the command again to go on")
    if result.failures:
        raise errors.StackError("\n".join(failure.message for failure in result.failures))
