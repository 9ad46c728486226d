"""Readies this host for a stack: what it lacks is said first, all at once; programs are built."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable

from rich import console as consoles

from bex_stack import errors, settings, targets
from bex_stack.embedded import (
    base_images,
    disk,
    golang,
    host_facts,
    operator_image,
    preflight,
    system_packages,
    toolchain,
)

TOOLCHAIN = "bex_stack.embedded.toolchain"


def prepare(target: targets.Target, console: consoles.Console, *, assume_yes: bool) -> None:
    """Ready the host for *target*: what it needs is there and its programs are built.

    Raises:
        errors.HostUnfit: what is missing, each with the command that mends it; nothing was touched.
    """
    needs = _needs(target)
    _mend(needs, console, assume_yes=assume_yes)
    if needs.makes_operator_image:
        _meanwhile(operator_image.ensure)
    if target.embedded.base_images and target.embedded.machines == "real":
        _meanwhile(lambda: base_images.make_system(needs.cache))
    toolchain.ensure(_programs(target))


def prepare_everything(console: consoles.Console, *, assume_yes: bool) -> None:
    """Ready the host for any stack and for the test suite: every program is built.

    Raises:
        errors.HostUnfit: as for `prepare`.
    """
    needs = preflight.Needs(
        cache=golang.default_cache(),
        state=settings.home(),
        builds=tuple(toolchain.missing(toolchain.BINARIES)),
    )
    _mend(needs, console, assume_yes=assume_yes)
    image = _meanwhile(operator_image.ensure)
    toolchain.ensure(toolchain.BINARIES)
    image.join()


def ensure_own(target: targets.Target) -> None:
    """Make sure that what carries the instance's name on this host is *target*'s.

    Raises:
        errors.HostUnfit: another BEX_HOME runs an instance of that name.
    """
    needs = _needs(target)
    problems = list(preflight.check_name(needs, host_facts.find_elsewhere(needs)))
    if problems:
        raise errors.HostUnfit(str(problems[0]))


def _mend(needs: preflight.Needs, console: consoles.Console, *, assume_yes: bool) -> None:
    """Check the host; install with apt what it lacks if *assume_yes* allows it."""
    problems = preflight.check(needs, host_facts.observe(needs))
    if problems and assume_yes:
        system_packages.mend_with_apt(problems, tell=console.print)
        problems = preflight.check(needs, host_facts.observe(needs))
    if problems:
        raise errors.HostUnfit("\n".join(str(problem) for problem in problems))


def _meanwhile(ensure: Callable[[], object]) -> threading.Thread:
    """Begin with an image while programs are built: it waits for downloads.

    What goes wrong is told by the step that needs the image.
    """

    def make() -> None:
        with contextlib.suppress(golang.ToolchainError, disk.LockTimeout, OSError):
            ensure()

    thread = threading.Thread(target=make, name="image", daemon=True)
    thread.start()
    return thread


def build_extras() -> None:
    """Build what nobody waits for (kubectl, ctr) behind the command, at low priority."""
    if toolchain.missing(toolchain.EXTRAS):
        subprocess.Popen(
            ["nice", sys.executable, "-m", TOOLCHAIN, "build", *toolchain.EXTRAS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _programs(target: targets.Target) -> tuple[str, ...]:
    if target.embedded.machines == "simulated":
        return (*toolchain.CONTROL_PLANE, *toolchain.REGISTRY, *toolchain.SIMULATED)
    return (*toolchain.FIRST_APP, "coredns")


def _needs(target: targets.Target) -> preflight.Needs:
    stack = target.embedded
    return preflight.Needs(
        cache=golang.default_cache(),
        state=settings.home(),
        has_real_machines=stack.machines == "real",
        builds=tuple(toolchain.missing(_programs(target))),
        ports=(
            preflight.Port(stack.edge_http_port, "bex:edgeHttpPort"),
            preflight.Port(stack.edge_https_port, "bex:edgeHttpsPort"),
            preflight.Port(stack.registry_port, "bex:registryPort"),
        ),
        makes_operator_image=stack.has_operator_pod and operator_image.is_missing(),
        instance=stack.instance,
        instance_dir=target.instance.dir,
        tries_kernel=not target.instance.dir.exists(),
    )
