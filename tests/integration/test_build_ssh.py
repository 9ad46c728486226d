"""Repositories over ssh, with a deploy key and known hosts only."""

from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from tests.support import git_server, ssh_git_server
from tests.support.build_steps import HERE, REPOSITORY_FAULT, Step, clone, program, run, server

__all__ = ["program", "server"]


@pytest.fixture(scope="module")
def shell(server: git_server.GitServer) -> Iterator[ssh_git_server.SshServer]:
    """The same repositories over ssh."""
    with ssh_git_server.serve(server.folder) as made:
        yield made


def over_ssh(
    program: Path,
    folder: Path,
    server: git_server.GitServer,
    shell: ssh_git_server.SshServer,
    **more: object,
) -> Step:
    """Clone the repository `shelled` with the deploy key, or with what is given instead."""
    commit = server.commit("shelled", {"a": "one"})
    given = {"key": shell.key, "known_hosts": shell.known_hosts, **more}
    repo = given.pop("repo", f"{shell.url}/shelled.git")
    return clone(program, folder, server, str(repo), commit, **given)


def test_deploy_key_opens_a_repository(
    program: Path, tmp_path: Path, server: git_server.GitServer, shell: ssh_git_server.SshServer
) -> None:
    """Its refs are told, and a commit is laid out."""
    step = over_ssh(program, tmp_path, server, shell)
    asked = run(
        program,
        tmp_path,
        "refs",
        repo=f"{shell.url}/shelled.git",
        key=shell.key,
        known_hosts=shell.known_hosts,
        inner=HERE,
        ref="main",
    )

    assert step.code == 0, step.output
    assert (tmp_path / "source/a").read_text() == "one"
    assert (asked.code, asked.told["refs"]) == (0, {"main": step.told["commit"]})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("stranger", "does not take the deploy key"),
        ("other host", "shows another key than `known_hosts` has"),
        ("no host", "`known_hosts` has no key of 127.0.0.1"),
        ("no key", "ssh needs a Secret with the keys `ssh-privatekey` and `known_hosts`"),
        ("garbage", "is no private key without a passphrase"),
        ("inner", "inner address"),
    ],
)
def test_ssh_without_the_right_keys_is_refused(
    program: Path,
    tmp_path: Path,
    server: git_server.GitServer,
    shell: ssh_git_server.SshServer,
    changed: str,
    words: str,
) -> None:
    """Ours or theirs; the field is named, no key is printed, and nobody unknown is talked to."""
    wrong = tmp_path / "wrong"
    more: dict[str, object] = {
        "stranger": {"key": shell.stranger},
        "other host": {"known_hosts": wrong},
        "no host": {"known_hosts": wrong},
        "no key": {"key": ""},
        "garbage": {"key": wrong},
        "inner": {"inner": "192.0.2.1/32"},
    }[changed]  # type: ignore[assignment]
    if changed == "other host":
        other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
        wrong.write_text(f"{shell.known_hosts.read_text().split(' ')[0]} {other}")
    else:
        wrong.write_text("")
    step = over_ssh(program, tmp_path, server, shell, **more)

    assert step.code == REPOSITORY_FAULT, step.output
    assert words in step.told["message"]
    assert step.told["message"].startswith("spec.")
    assert "PRIVATE" not in step.output
