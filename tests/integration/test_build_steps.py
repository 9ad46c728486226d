"""The clone step against a real git server: what a repository may not do to a build."""

from pathlib import Path

import pytest

from tests.support import git_server
from tests.support.build_steps import (
    PLATFORM_FAULT,
    REPOSITORY_FAULT,
    SKIPPED,
    Step,
    blob,
    clone,
    program,
    raw_commit,
    server,
)

__all__ = ["program", "server"]


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
        "https://127.0.0.1/a\nb",
        "https://127.0.0.1\n/a",
        "$(touch /var/tmp/bex-owned)",
        "https://$(touch /var/tmp/bex-owned)/a",
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
