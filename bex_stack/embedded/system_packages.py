"""Installs the Debian packages that mend problems `preflight` found; nothing else, nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable

from bex_stack import errors
from bex_stack.embedded import golang, preflight

APT_TIMEOUT_SECONDS = 900
LOCK_SECONDS = 120
"""How long apt waits for another apt; a freshly booted machine often updates itself."""


def mend_with_apt(
    problems: Iterable[preflight.Problem], *, tell: Callable[[str], None] = lambda _: None
) -> tuple[str, ...]:
    """Install the packages that mend all of *problems*; return their names.

    Does nothing where there is no apt-get, without root, or if one problem is no package's to
    mend: a person has to act then anyway, and the host is left as it was.

    Raises: HostUnfit (apt failed; its last lines are in the message).
    """
    found = list(problems)
    packages = tuple(sorted({name for problem in found for name in problem.packages}))
    can_install = shutil.which("apt-get") is not None and os.geteuid() == 0
    if not packages or not can_install or not all(problem.packages for problem in found):
        return ()
    tell(f"installing {', '.join(packages)} with apt-get")
    _apt("update", "--quiet")
    _apt("install", "--yes", "--quiet", "--no-install-recommends", *packages)
    return packages


def _apt(*arguments: str) -> None:
    command = ["apt-get", "-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}", *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=APT_TIMEOUT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as exc:
        raise errors.HostUnfit(
            f"{' '.join(command)} was not done within {APT_TIMEOUT_SECONDS} s"
        ) from exc
    if done.returncode != 0:
        raise errors.HostUnfit(
            f"{' '.join(command)} failed:\n{golang.last_lines(done.stdout + done.stderr)}"
        )
