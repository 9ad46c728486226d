"""Runs a Pulumi program in this process, as the CLI's Python language host does in its own.

Source: pulumi-language-python-exec and pulumi/automation/_server.py (3.272). Uses the standard
event loop only: the SDK pumps it re-entrantly.
"""

import asyncio
import contextlib
import contextvars
import os
import runpy
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bex_stack.engine import errors, foreign
from bex_stack.engine import monitor as monitors
from bex_stack.engine import project as projects


@dataclass(frozen=True, slots=True)
class Program:
    """A program and everything it is run with."""

    project: projects.Project
    stack: str
    configuration: projects.Configuration
    monitor: monitors.Monitor
    engine: monitors.Engine
    parallel: int
    dry_run: bool


def run(program: Program) -> None:
    """Run the program until all its registrations are answered.

    Raises: the monitor's own error when a registration failed, else ProgramFailed.
    """
    contextvars.copy_context().run(_run, program)


def _run(program: Program) -> None:
    import pulumi

    pulumi.runtime.set_all_config(
        dict(program.configuration.values), sorted(program.configuration.secret_keys)
    )
    pulumi.runtime.settings.ROOT.set(None)
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            project=program.project.name,
            stack=program.stack,
            monitor=program.monitor,
            engine=program.engine,
            parallel=program.parallel,
            dry_run=program.dry_run,
            organization="organization",
            root_directory=str(program.project.directory),
        )
    )
    try:
        with _loop(program.parallel) as loop:
            loop.run_until_complete(pulumi.runtime.run_in_stack(lambda: _execute(program)))
    except BaseException as exc:
        if program.monitor.error is not None:
            raise program.monitor.error from exc
        if isinstance(exc, KeyboardInterrupt):
            raise errors.Interrupted("the run was stopped") from exc
        raise errors.ProgramFailed(_summary(exc, program.project), _trace(exc)) from exc


def _execute(program: Program) -> None:
    """Run the file, or the folder's `__main__.py`."""
    import pulumi

    def announce(made: pulumi.ResourceTransformationArgs) -> None:
        if isinstance(made.resource, pulumi.CustomResource) or foreign.is_remote(made.type_):
            program.monitor.announce(made.type_, lambda: _place(program.project))

    pulumi.runtime.register_stack_transformation(announce)
    runpy.run_path(str(program.project.main), run_name="__main__")


@contextlib.contextmanager
def _loop(parallel: int) -> Iterator[asyncio.AbstractEventLoop]:
    """Offer an event loop whose threads are done when the block ends."""
    loop = asyncio.new_event_loop()
    # A failure leaves tasks behind whose errors are its consequences; asyncio would print each of
    # them whenever the garbage collector finds it, even long after the run.
    loop.set_exception_handler(lambda loop, context: None)
    asyncio.set_event_loop(loop)
    pool = ThreadPoolExecutor(max_workers=parallel * 4, thread_name_prefix="pulumi")
    loop.set_default_executor(pool)
    try:
        yield loop
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()


def _place(found: projects.Project) -> str:
    """Return `file:line` of the program's own code that is being executed."""
    own = _own(traceback.extract_stack(), found)
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def _own(frames: traceback.StackSummary, found: projects.Project) -> list[traceback.FrameSummary]:
    """Keep the frames of the program's own code; this engine may lie below its folder, too."""
    root, engine = f"{found.directory}{os.sep}", str(Path(__file__).parent)
    return [
        each
        for each in frames
        if each.filename.startswith(root)
        and not each.filename.startswith(engine)
        and "site-packages" not in each.filename
    ]


def _summary(exc: BaseException, found: projects.Project) -> str:
    """Name the error and the last line of the program's own code it passed."""
    own = _own(traceback.extract_tb(exc.__traceback__), found)
    place = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
    return f"the program failed{place}: {type(exc).__name__}: {exc}"


def _trace(exc: BaseException) -> str:
    return "".join(traceback.format_exception(exc))
