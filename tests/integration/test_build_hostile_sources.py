"""Repositories that are made to harm: what they hold stays a file, or ends the clone."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import git_server
from tests.support.build_steps import (
    HERE,
    PLATFORM_FAULT,
    REPOSITORY_FAULT,
    blob,
    clone,
    program,
    raw_commit,
    resolve,
    run,
    server,
    tree,
    write,
)

__all__ = ["program", "server"]


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Give a folder a disk of 64 KiB."""
    folder.mkdir()
    disk = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    subprocess.run(disk, check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)
        folder.rmdir()


@pytest.mark.parametrize("full", ["source", "objects"])
def test_full_disk_is_the_platforms_fault(
    program: Path, tmp_path: Path, server: git_server.GitServer, full: str
) -> None:
    """Nobody blames the repository; the same commit is cloned where there is room."""
    commit = server.commit("sizeable", {"a": os.urandom(150_000).hex()})
    url = server.url_of("sizeable")
    with small_disk(tmp_path / full):
        refused = clone(program, tmp_path, server, url, commit)
    again = tmp_path / "again"
    again.mkdir()

    assert (refused.code, refused.told["fault"]) == (PLATFORM_FAULT, "platform")
    assert "no space left" in refused.told["message"]
    assert clone(program, again, server, url, commit).code == 0


def test_history_is_not_fetched(
    program: Path, tmp_path: Path, server: git_server.GitServer
) -> None:
    """However much of it there is: a repository of gigabytes costs what its last commit does."""
    for _ in range(8):
        commit = server.commit("old", {"a": os.urandom(100_000).hex()})
    commit = server.commit("old", {"a": "small"})
    step = clone(program, tmp_path, server, server.url_of("old"), commit, max_bytes=20_000)

    assert step.code == 0, step.output
    assert (tmp_path / "source/a").read_text() == "small"


def test_million_files_are_refused_by_their_number(
    program: Path, tmp_path: Path, server: git_server.GitServer
) -> None:
    """Three objects make them: a thousand times one folder, of a thousand times one file."""
    server.commit("million", {"a": "x"})
    one = blob(server, "million", "x")
    files = [f"100644 blob {one}\t{number:03}" for number in range(1000)]
    folder = tree(server, "million", *files)
    folders = [f"040000 tree {folder}\t{number:03}" for number in range(1000)]
    commit = raw_commit(server, "million", *folders)
    step = clone(program, tmp_path, server, server.url_of("million"), commit)

    assert step.code == REPOSITORY_FAULT
    assert "repository: the commit has more than 100000 files" in step.told["message"]


@pytest.mark.parametrize("kind", ["a hook in a nested folder", "a link", "a file", "a submodule"])
def test_nothing_is_called_git(
    program: Path, tmp_path: Path, server: git_server.GitServer, kind: str
) -> None:
    """A later git, in whatever step of a Dockerfile, would read it as its own."""
    server.commit("named", {"a": "x"})
    hook = blob(server, "named", "#!/bin/sh\ntouch /var/tmp/bex-owned\n")

    hooks = tree(server, "named", f"100755 blob {hook}\tpost-checkout")
    own = tree(server, "named", f"040000 tree {hooks}\thooks")
    nested = tree(server, "named", f"040000 tree {own}\t.git")
    entry = {
        "a hook in a nested folder": f"040000 tree {nested}\tsub",
        "a link": f"120000 blob {hook}\t.git",
        "a file": f"100644 blob {hook}\t.Git",
        "a submodule": f"160000 commit {'1' * 40}\t.git",
    }[kind]
    commit = raw_commit(server, "named", entry)
    step = clone(program, tmp_path, server, server.url_of("named"), commit)

    assert step.code == REPOSITORY_FAULT
    assert "is no name that a file may have" in step.told["message"]
    assert not Path("/var/tmp/bex-owned").exists()  # noqa: S108 - named in the hook


def test_pointer_to_a_large_file_stays_a_pointer(
    program: Path, tmp_path: Path, server: git_server.GitServer
) -> None:
    """Whoever it names is not asked, inside or outside; neither are attributes obeyed."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    inner = f"[lfs]\n\turl = {server.url}/inner\n"
    files = {"a.bin": pointer, ".lfsconfig": inner, ".gitattributes": "*.bin filter=lfs\n"}
    commit = server.commit("pointing", files)
    server.requests.clear()
    step = clone(program, tmp_path, server, server.url_of("pointing"), commit)

    assert step.code == 0
    assert (tmp_path / "source/a.bin").read_text() == pointer
    assert {each.split()[1].split("/")[1] for each in server.requests} == {"pointing.git"}


@pytest.mark.parametrize("step_name", ["clone", "refs"])
@pytest.mark.parametrize("target", ["http://169.254.169.254/latest", "{url}/app.git/info/refs"])
def test_redirect_is_not_followed(
    program: Path, tmp_path: Path, server: git_server.GitServer, step_name: str, target: str
) -> None:
    """Neither to an inner address nor to where it would be let in: the URL is what people see."""
    commit = server.commit("app", {"a": "x"})
    server.elsewhere["moved"] = target.format(url=server.url)
    server.requests.clear()
    if step_name == "clone":
        step = clone(program, tmp_path, server, server.url_of("moved"), commit)
    else:
        given = {"inner": HERE, "authority": server.authority, "ref": "main"}
        step = run(program, tmp_path, "refs", repo=server.url_of("moved"), **given)

    assert step.code == REPOSITORY_FAULT, step.output
    assert step.told["message"].startswith("spec.repo: ")
    assert not any("app.git" in each for each in server.requests)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"root_dir": "../.."}, "spec.rootDir"),
        ({"root_dir": "link"}, "spec.rootDir"),
        ({"root_dir": "link/inner"}, "spec.rootDir"),
        ({"context": "link"}, "spec.dockerContext"),
        ({"root_dir": "/etc"}, "spec.rootDir"),
        ({"dockerfile": "../../secret"}, "spec.dockerfilePath"),
        ({"dockerfile": "link/Dockerfile"}, "spec.dockerfilePath"),
    ],
)
def test_folder_that_leads_out_of_the_source_is_refused(
    program: Path, tmp_path: Path, options: dict[str, str], field: str
) -> None:
    """By its path or by a link, even one that the clone would have refused."""
    (tmp_path / "outside/inner").mkdir(parents=True)
    (tmp_path / "outside/Dockerfile").write_text("FROM secret\n")
    write(tmp_path, README="x")
    (tmp_path / "source/link").symlink_to("../outside")
    step = resolve(program, tmp_path, builder="dockerfile", **options)

    assert step.code == REPOSITORY_FAULT
    assert step.told["message"].startswith(f"{field}: ")
    assert "FROM secret" not in step.output


@pytest.mark.parametrize(
    ("lines", "code"),
    [(100_000, REPOSITORY_FAULT), (10_000, 0)],
    ids=["more than a megabyte", "less"],
)
def test_endless_dockerfile_is_refused_by_its_size(
    program: Path, tmp_path: Path, lines: int, code: int
) -> None:
    """What is shown and handed on is bounded."""
    write(tmp_path, Dockerfile="FROM scratch\n" + "LABEL a=bbbbbb\n" * lines)
    step = resolve(program, tmp_path)

    assert step.code == code
    assert code == 0 or step.told["message"].startswith("spec.dockerfilePath: ")


def test_templates_in_a_project_stay_text(program: Path, tmp_path: Path) -> None:
    """What is generated is made of words that a repository chose: none becomes another line."""
    bad = '{{ .Env }} $(touch /var/tmp/bex-owned) `id`"\\nRUN touch /owned'
    write(tmp_path, go__mod=f"module x\n\ngo 1.22\n// {bad}\n")
    (tmp_path / "source/cmd").mkdir()
    step = resolve(program, tmp_path)

    assert step.code == 0
    assert "owned" not in step.output
