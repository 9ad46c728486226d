"""Repositories that this host serves to builds of its own stack, over https with its authority."""

from __future__ import annotations

import datetime
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from bex_stack import errors
from bex_stack.embedded import (
    disk,
    git_server,
    identities,
    pki,
    processes,
    push_notes,
    readiness,
    services,
    supervision,
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
    hook = bare / "hooks" / "post-receive"
    disk.ensure_file(hook, _hook(instance, name))
    hook.chmod(0o700)
    serve(instance)
    return bare


def is_served(instance: instances.Instance, name: str) -> bool:
    """Whether the repository is there, and the server runs as it should."""
    if not (folder(instance) / f"{name}.git").is_dir():
        return False
    return services.is_process_settled(instance, _process(instance, _pair(instance)), user=None)


def remove(instance: instances.Instance, name: str) -> None:
    """Remove the repository with all that was pushed to it, and the server with the last one."""
    shutil.rmtree(folder(instance) / f"{name}.git", ignore_errors=True)
    if not any(folder(instance).glob("*.git")):
        supervision.remove(instance, [PROCESS])


def serve(instance: instances.Instance) -> None:
    """Let the server run, with a certificate that lasts; builds trust whom it is from."""
    authority = identities.cluster_authority(instance)
    stem = instance.pki_dir / "git"
    with disk.locked(instance.run_dir / "pki.lock"):
        leaf = pki.Leaf("git", addresses=(instance.bridge_address,))
        pair, _ = pki.ensure_pair(authority, stem, leaf, now=datetime.datetime.now(datetime.UTC))
    services.ensure_process(instance, _process(instance, pair))
    address = f"https://{instance.bridge_address}:{instances.GIT_PORT}/healthz"
    readiness.wait(
        lambda: readiness.answers(address, authority=authority.certificate),
        what=f"the git server ({address})",
        timeout_seconds=services.READY_SECONDS,
        instance=instance,
        process=PROCESS,
    )


def _pair(instance: instances.Instance) -> pki.Pair:
    return pki.Pair(instance.pki_dir / "git.crt", instance.pki_dir / "git.key")


def _hook(instance: instances.Instance, name: str) -> str:
    """Write what git runs after a push: the operator is told, and need not ask."""
    program = str(Path(sys.prefix) / "bin" / "python")
    command = [program, "-m", push_notes.__name__, str(instance.kubeconfig), url(instance, name)]
    return f"#!/bin/sh\nunset GIT_DIR\nexec {shlex.join(command)}\n"


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
