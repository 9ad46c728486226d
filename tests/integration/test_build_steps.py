"""The steps of a build against a real git server: what a repository may not do to a build."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from bex_stack.embedded import toolchain
from tests.support import git_server, ssh_git_server

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


@pytest.fixture(scope="module")
def shell(server: git_server.GitServer) -> Iterator[ssh_git_server.SshServer]:
    """The same repositories over ssh."""
    with ssh_git_server.serve(server.folder) as made:
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
    tree = git_server.git("mktree", "--missing", cwd=bare, input_text="\n".join(entries) + "\n")
    commit = git_server.git("commit-tree", tree, "-m", "Odd", cwd=bare)
    git_server.git("update-ref", "refs/heads/odd", commit, cwd=bare)
    return commit


def blob(server: git_server.GitServer, name: str, text: str) -> str:
    """Store *text* in a repository; return its object."""
    bare = server.folder / f"{name}.git"
    return git_server.git("hash-object", "-w", "--stdin", cwd=bare, input_text=text)


def test_clone_lays_out_one_commit(
    program: Path, tmp_path: Path, server: git_server.GitServer
) -> None:
    """The files of the commit are there, an older commit too, and nothing of git is."""
    first = server.commit("app", {"Dockerfile": "FROM scratch\n", "a/b.txt": "one"})
    second = server.commit("app", {"Dockerfile": "FROM scratch\n", "a/b.txt": "two"})
    step = clone(program, tmp_path, server, server.url_of("app"), second)

    found = {str(each.relative_to(tmp_path / "source")) for each in tmp_path.rglob("source/**/*")}
    assert (step.code, step.told["commit"], step.told["author"]) == (0, second, "Ada")
    assert found == {"Dockerfile", "a", "a/b.txt"}
    assert (tmp_path / "source/a/b.txt").read_text() == "two"
    assert first != second


@pytest.mark.parametrize(
    "url",
    [
        "-oProxyCommand=touch /var/tmp/bex-owned",
        "--upload-pack=touch /var/tmp/bex-owned",
        "ext::sh -c touch% /var/tmp/bex-owned",
        "file:///etc",
        "/etc",
        "ssh://-x/y",
        "git@example.com:a/b",
        "http://127.0.0.1/a",
        "https://user:secret@127.0.0.1/a",
        "https:///evil",
    ],
)
def test_url_that_is_no_plain_https_is_refused(
    program: Path, tmp_path: Path, server: git_server.GitServer, url: str
) -> None:
    """No other transport is spoken and no program started, whatever the URL says."""
    step = clone(program, tmp_path, server, url, "0" * 40)

    assert step.code in {REPOSITORY_FAULT, PLATFORM_FAULT}
    assert step.code == REPOSITORY_FAULT or "evil" in url
    assert "secret" not in step.output
    assert not Path("/var/tmp/bex-owned").exists()  # noqa: S108 - named in the URLs


@pytest.mark.parametrize("commit", ["main", "--output=x", "..", "@{", "a" * 39, "a" * 300])
def test_only_a_whole_commit_is_cloned(
    program: Path, tmp_path: Path, server: git_server.GitServer, commit: str
) -> None:
    """A ref is resolved before; the step takes nothing that git would have to interpret."""
    step = clone(program, tmp_path, server, server.url_of("app"), commit)

    assert step.code == PLATFORM_FAULT
    assert "40 hexadecimal digits" in step.told["message"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "169.254.169.254", "10.96.0.1", "[::1]", "[64:ff9b::a00:1]", "localhost"],
)
def test_inner_addresses_are_not_dialled(
    program: Path, tmp_path: Path, server: git_server.GitServer, host: str
) -> None:
    """The address is judged when it is dialled, so a name that leads inside is no way round."""
    port = server.url.rpartition(":")[2]
    step = clone(
        program, tmp_path, server, f"https://{host}:{port}/app.git", "0" * 40, inner="192.0.2.1/32"
    )

    assert step.code == REPOSITORY_FAULT
    assert "spec.repo" in step.told["message"]
    assert "inner address" in step.told["message"]


@pytest.mark.parametrize(
    ("mode", "name", "target"),
    [
        ("120000", "link", "/etc/passwd"),
        ("120000", "link", "../../etc/passwd"),
        ("120000", "link", "a/../../etc"),
        ("100644", ".git", "content"),
        ("100644", ".GIT", "content"),
        ("100644", "..", "content"),
    ],
)
def test_what_would_leave_the_repository_is_refused(
    program: Path,
    tmp_path: Path,
    server: git_server.GitServer,
    mode: str,
    name: str,
    target: str,
) -> None:
    """Links out of the tree and names that git keeps for itself end the clone, and say so."""
    server.commit("odd", {"a/b": "x"}, branch="main")
    made = f"{mode} blob {blob(server, 'odd', target)}\t{name}"
    commit = raw_commit(server, "odd", made)
    step = clone(program, tmp_path, server, server.url_of("odd"), commit)

    assert step.code == REPOSITORY_FAULT
    assert step.told["message"].startswith("repository: ")
    assert list((tmp_path / "source").iterdir()) == []


def needed(step: Step) -> str | None:
    """Why the step found nothing to build; None if it has to be built."""
    assert step.code in {0, SKIPPED}
    assert (step.code == SKIPPED) == ("skipped" in step.told)
    assert "fault" not in step.told
    return step.told.get("skipped")


@pytest.mark.parametrize(
    ("subject", "is_skipped"),
    [
        ("Typo [skip bex]", True),
        ("[Bex Skip] typo", True),
        ("Text\n\nmore\n[skip bex]", True),
        ("Release 1.2 [skip ci]", False),
        ("skip bex", False),
    ],
)
def test_commit_that_says_so_is_not_built(
    program: Path, tmp_path: Path, server: git_server.GitServer, subject: str, is_skipped: bool
) -> None:
    """Words of ours only, anywhere in its message; and only beside an image that goes on."""
    commit = server.commit("skips", {"a": subject}, subject=subject)
    url = server.url_of("skips")
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    alone.mkdir()
    beside.mkdir()

    assert needed(clone(program, alone, server, url, commit, counts=".")) is None
    told = needed(clone(program, beside, server, url, commit, counts=".", base_scope="other"))
    assert (told is not None) == is_skipped


MONOREPO = {"web/main.go": "1", "web/docs/a.md": "1", "lib/x.go": "1", "README.md": "1"}


@pytest.mark.parametrize(
    ("changed", "counts", "ignored", "is_built"),
    [
        ("web/main.go", "web", "-", True),
        ("lib/x.go", "web", "-", False),
        ("lib/x.go", ".", "-", True),
        ("README.md", "./web/", "-", False),
        ("web/docs/a.md", "web", "**/*.md", False),
        ("web/docs/a.md", "**/*.md", "-", True),
        ("web/docs/a.md", "*.md", "-", False),
        ("README.md", "*.md", "-", True),
        ("lib/x.go", "l?b/*.go", "-", True),
        ("web/docs/a.md", ".", "web/docs", False),
    ],
)
def test_push_is_built_if_it_changes_what_counts(
    program: Path,
    tmp_path: Path,
    server: git_server.GitServer,
    changed: str,
    counts: str,
    ignored: str,
    is_built: bool,
) -> None:
    """Files are compared with those of the image that serves, not with the commit before."""
    url, scopes = server.url_of("mono"), []
    for content in ("1", str(tmp_path)):
        commit = server.commit("mono", {**MONOREPO, changed: content})
        folder = tmp_path / str(len(scopes))
        folder.mkdir()
        base = {"base_scope": scopes[0]} if scopes else {}
        step = clone(program, folder, server, url, commit, counts=counts, ignored=ignored, **base)
        scopes.append(step.told["scope"])

    assert (needed(step) is None) == is_built
    assert (scopes[0] != scopes[1]) == is_built


def test_submodules_and_their_urls_are_left_alone(
    program: Path, tmp_path: Path, server: git_server.GitServer
) -> None:
    """A submodule becomes an empty folder; nobody reads where it would come from."""
    server.commit("sub", {"a": "x"})
    modules = blob(server, "sub", '[submodule "../x"]\n path = sub\n url = file:///etc\n')
    commit = raw_commit(
        server, "sub", f"160000 commit {'1' * 40}\tsub", f"100644 blob {modules}\t.gitmodules"
    )
    step = clone(program, tmp_path, server, server.url_of("sub"), commit)

    assert step.code == 0
    assert list((tmp_path / "source/sub").iterdir()) == []
    assert "submodules are not fetched" in step.output


def test_large_repositories_end_at_the_limits(
    program: Path, tmp_path: Path, server: git_server.GitServer
) -> None:
    """Too many files and too many bytes are refused with the limit."""
    commit = server.commit("large", {f"{number}.txt": "x" * 1000 for number in range(30)})
    url = server.url_of("large")
    files = clone(program, tmp_path, server, url, commit, max_files=10)
    for each in (tmp_path / "source").iterdir():
        each.unlink()
    size = clone(program, tmp_path, server, url, commit, max_bytes=10_000)

    assert (files.code, size.code) == (REPOSITORY_FAULT, REPOSITORY_FAULT)
    assert "more than 10 files" in files.told["message"]
    assert "10000 bytes" in size.told["message"]


def test_private_repository_needs_its_token(
    program: Path, tmp_path: Path, server: git_server.GitServer
) -> None:
    """Without a token the field is named that brings one; the token is never printed."""
    commit = server.commit("private", {"a": "x"})
    token = tmp_path / "token"
    token.write_text("correct-horse\n")
    server.tokens["private"] = "correct-horse"
    without = clone(program, tmp_path, server, server.url_of("private"), commit)
    with_it = clone(program, tmp_path, server, server.url_of("private"), commit, token=token)

    assert (without.code, with_it.code) == (REPOSITORY_FAULT, 0)
    assert "spec.cloneSecret" in without.told["message"]
    assert "correct-horse" not in without.output + with_it.output


def resolve(program: Path, folder: Path, **options: object) -> Step:
    """Resolve what lies in `folder/source`."""
    plan = folder / "plan.json"
    return run(program, folder, "resolve", source=folder / "source", into=plan, **options)


def write(folder: Path, **files: str) -> None:
    """Write the files of a repository; `__` in a name stands for a dot."""
    (folder / "source").mkdir()
    for name, text in files.items():
        (folder / "source" / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("# syntax=evil.example.com/frontend", REPOSITORY_FAULT),
        ("// syntax=evil.example.com/frontend", REPOSITORY_FAULT),
        ("# syntax=docker/dockerfilex:1", REPOSITORY_FAULT),
        ("# syntax=docker/dockerfile:1", 0),
        ("# a comment", 0),
    ],
)
def test_foreign_frontends_are_refused(program: Path, tmp_path: Path, line: str, code: int) -> None:
    """Only what BuildKit has built in may read a Dockerfile."""
    write(tmp_path, Dockerfile=f"{line}\nFROM scratch\n")
    step = resolve(program, tmp_path)

    assert step.code == code
    assert code == 0 or "foreign frontend" in step.told["message"]


def test_dockerfile_behind_a_link_out_of_the_source_is_not_read(
    program: Path, tmp_path: Path
) -> None:
    """Even a link that the clone would have refused leads nowhere."""
    (tmp_path / "secret").write_text("FROM secret\n")
    write(tmp_path)
    (tmp_path / "source/Dockerfile").symlink_to("../secret")
    step = resolve(program, tmp_path)

    assert step.code == REPOSITORY_FAULT
    assert "FROM secret" not in step.output


@pytest.mark.parametrize(
    ("files", "strategy", "shown"),
    [
        ({"go__mod": "module x\n"}, "go", 'RUN ["go", "build"'),
        ({"package__json": '{"scripts": {"start": "node ."}}'}, "node", 'CMD ["npm","start"]'),
        ({"requirements__txt": "", "main__py": ""}, "python", 'CMD ["python3","main.py"]'),
        ({"uv__lock": "", "pyproject__toml": "", "app__py": ""}, "python", "/uv/bin/uv"),
    ],
    ids=["go", "node", "requirements", "uv"],
)
def test_projects_without_a_dockerfile_get_one_that_is_shown(
    program: Path, tmp_path: Path, files: dict[str, str], strategy: str, shown: str
) -> None:
    """The language is told by its files, and nothing runs as root."""
    write(tmp_path, **files)
    step = resolve(program, tmp_path)

    assert (step.code, step.told["strategy"]) == (0, strategy)
    assert shown in step.output
    assert "USER 65532:65532" in step.output


def test_repository_that_nothing_tells_how_to_build_is_refused(
    program: Path, tmp_path: Path
) -> None:
    """The message names what was looked for."""
    write(tmp_path, README="hello")
    step = resolve(program, tmp_path)

    assert step.code == REPOSITORY_FAULT
    assert "requirements.txt" in step.told["message"]


@pytest.mark.parametrize(
    "secret",
    [
        "ghp_0123456789abcdefghij0123456789abcdef",
        "https://ada:correct-horse@git.example.com/x",
        "Authorization: Bearer abcdefgh12345678",
        "ENV API_KEY=correct-horse",
        'ARG DB_PASSWORD="correct horse"',
        "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3MDAwMDB9.c2lnbmF0dXJl",
        "-----BEGIN OPENSSH PRIVATE KEY-----\ncorrecthorse\n-----END OPENSSH PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret_is_not_printed(
    program: Path, tmp_path: Path, secret: str
) -> None:
    """A repository may hold one; the log of its build, which more people read, does not."""
    write(tmp_path, Dockerfile=f"FROM scratch\n# {secret}\nLABEL after=1\n")
    step = resolve(program, tmp_path)

    assert "***" in step.output
    assert "LABEL after=1" in step.output
    for word in ("correct", "abcdefgh12345678", "0123456789abcdef", "c2lnbmF0dXJl"):
        assert word not in step.output + str(step.told)


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
