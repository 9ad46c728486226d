"""Repositories that this host serves to builds of its own stack, over https with its authority."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bex_stack import errors
from bex_stack.embedded import (
    builds,
    disk,
    git_server,
    identities,
    pki,
    processes,
    readiness,
    services,
)
from bex_stack.embedded import instance as instances

PROCESS = "git"
BRANCH = "main"
GIT_SECONDS = 60
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    **{f"GIT_{who}_NAME": "bex" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "bex@localhost" for who in ("AUTHOR", "COMMITTER")},
}


def folder(instance: instances.Instance) -> Path:
    """Where the repositories lie; whoever may write there may push."""
    return instance.dir / "git"


def url(instance: instances.Instance, name: str) -> str:
    """Where builds find a repository."""
    return f"https://{instance.bridge_address}:{instances.GIT_PORT}/{name}.git"


def ensure(instance: instances.Instance, name: str, source: Path) -> Path:
    """Let the repository *name* be there, at first with the files of *source*, and be served.

    Raises: errors.StackError, readiness.NotReady.
    """
    if not _NAME.fullmatch(name):
        raise errors.StackError(f"{name!r} is no name of small letters, digits and hyphens")
    if shutil.which("git") is None:
        raise errors.StackError("git is not on this host: apt-get install -y git")
    if not identities.cluster_authority(instance).certificate.exists():
        raise errors.StackError("the stack is not up: repositories are served on its bridge")
    bare = folder(instance) / f"{name}.git"
    if not bare.exists():
        disk.ensure_dir(folder(instance))
        _make(bare, source)
    serve(instance)
    return bare


def serve(instance: instances.Instance) -> None:
    """Let the server run, with a certificate that lasts, and builds trust it."""
    authority = identities.cluster_authority(instance)
    stem = instance.pki_dir / "git"
    with disk.locked(instance.run_dir / "pki.lock"):
        leaf = pki.Leaf("git", addresses=(instance.bridge_address,))
        pair, _ = pki.ensure_pair(authority, stem, leaf, now=datetime.datetime.now(datetime.UTC))
    disk.ensure_file(builds.authority_file(instance), authority.certificate.read_bytes())
    services.ensure_process(instance, _process(instance, pair))
    address = f"https://{instance.bridge_address}:{instances.GIT_PORT}/healthz"
    readiness.wait(
        lambda: readiness.answers(address, authority=authority.certificate),
        what=f"the git server ({address})",
        timeout_seconds=services.READY_SECONDS,
        instance=instance,
        process=PROCESS,
    )


def _process(instance: instances.Instance, pair: pki.Pair) -> processes.Process:
    program = Path(git_server.__file__)
    command = (
        str(Path(sys.prefix) / "bin" / "python"),
        *("-I", str(program)),
        f"--folder={folder(instance)}",
        f"--address={instance.bridge_address}",
        f"--port={instances.GIT_PORT}",
        f"--certificate={pair.certificate}",
        f"--key={pair.key}",
    )
    return processes.Process(PROCESS, command, inputs=(program, pair.certificate, pair.key))


def _make(bare: Path, source: Path) -> None:
    """Make a bare repository of one commit with the files of a folder."""
    made = bare.with_name(f".{bare.name}")
    shutil.rmtree(made, ignore_errors=True)
    _git("init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(made))
    inside = (f"--git-dir={made}", f"--work-tree={source}")
    _git(*inside, "add", "--all", ".", cwd=source)
    _git(*inside, "commit", "--quiet", "--message", f"Begin with {source.name}", cwd=source)
    (made / "index").unlink()
    made.rename(bare)


def _git(*arguments: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env={**os.environ, **_ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=GIT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise errors.StackError(f"git {arguments[-1]} failed: {done.stderr.strip()[-300:]}")
