"""Runs single steps of builds against a real git server, as their pods would."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bex_stack.embedded import toolchain
from tests.support import git_server

REPOSITORY_FAULT, PLATFORM_FAULT, SKIPPED = 90, 91, 92
HERE = "127.0.0.1/32"


@pytest.fixture(scope="session")
def program() -> Path:
    """The program that every step is."""
    return toolchain.ensure(["bex-build"]).path("bex-build")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[git_server.GitServer]:
    """A git server behind https."""
    with git_server.serve(tmp_path_factory.mktemp("git")) as made:
        yield made


@dataclass(frozen=True)
class Step:
    """A finished step."""

    code: int
    told: dict[str, Any]
    output: str


def run(program: Path, folder: Path, name: str, **options: object) -> Step:
    """Run one step with its folders below *folder*."""
    result = folder / "result.json"
    arguments = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    done = subprocess.run(
        [program, name, f"--result={result}", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    told = json.loads(result.read_text()) if result.exists() else {}
    return Step(done.returncode, told, done.stdout + done.stderr)


def clone(
    program: Path,
    folder: Path,
    server: git_server.GitServer,
    repo: str,
    commit: str,
    **more: object,
) -> Step:
    """Clone a commit into `folder/source`."""
    for each in ("source", "objects"):
        (folder / each).mkdir(exist_ok=True)
    given: dict[str, object] = {"inner": HERE, "authority": server.authority, **more}
    into = {"into": folder / "source", "objects": folder / "objects"}
    return run(program, folder, "clone", repo=repo, commit=commit, **into, **given)


def raw_commit(server: git_server.GitServer, name: str, *entries: str) -> str:
    """Commit a tree whose entries (`mode type object<TAB>name`) git itself would not make."""
    bare = server.folder / f"{name}.git"
    commit = git_server.git("commit-tree", tree(server, name, *entries), "-m", "Odd", cwd=bare)
    git_server.git("update-ref", "refs/heads/odd", commit, cwd=bare)
    return commit


def tree(server: git_server.GitServer, name: str, *entries: str) -> str:
    """Store a folder with such entries in a repository; return its object."""
    bare = server.folder / f"{name}.git"
    return git_server.git("mktree", "--missing", cwd=bare, input_text="\n".join(entries) + "\n")


def blob(server: git_server.GitServer, name: str, text: str) -> str:
    """Store *text* in a repository; return its object."""
    bare = server.folder / f"{name}.git"
    return git_server.git("hash-object", "-w", "--stdin", cwd=bare, input_text=text)


def resolve(program: Path, folder: Path, **options: object) -> Step:
    """Resolve what lies in `folder/source`."""
    plan = folder / "plan.json"
    return run(program, folder, "resolve", source=folder / "source", into=plan, **options)


def write(folder: Path, **files: str) -> None:
    """Write the files of a repository; `__` in a name stands for a dot."""
    (folder / "source").mkdir()
    for name, text in files.items():
        (folder / "source" / name.replace("__", ".")).write_text(text)
