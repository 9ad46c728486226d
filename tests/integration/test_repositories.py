"""Repositories that this host serves to its machines: a real git clones them, and no more."""

import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bex_stack import errors
from bex_stack.embedded import identities, repositories, supervision
from tests.support import embedded as support

HELLO = Path(__file__).parents[2] / "examples" / "hello-go"


@pytest.fixture(scope="module")
def bare(embedded: support.Embedded) -> Iterator[Path]:
    """The served repository of the example."""
    made = repositories.ensure(embedded.instance, "hello-go", HELLO)
    yield made
    supervision.remove(embedded.instance, [repositories.PROCESS])


def git(embedded: support.Embedded, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git with the stack's authority."""
    authority = identities.cluster_authority(embedded.instance).certificate
    return subprocess.run(
        ["git", *arguments],
        env={
            **os.environ,
            "GIT_SSL_CAINFO": str(authority),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            **{f"GIT_{who}_NAME": "Ada" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "ada@example.com" for who in ("AUTHOR", "COMMITTER")},
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def status_of(embedded: support.Embedded, path: str, body: bytes | None = None) -> int:
    """Ask the server for a path as it stands."""
    root = repositories.url(embedded.instance, "x").rpartition("/")[0]
    authority = identities.cluster_authority(embedded.instance).certificate
    context = ssl.create_default_context(cafile=str(authority))
    try:
        with urllib.request.urlopen(  # noqa: S310 - our own https URL
            root + path, body, timeout=60, context=context
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def test_repository_begins_with_the_files_and_follows_pushes(
    embedded: support.Embedded, bare: Path, tmp_path: Path
) -> None:
    """Cloned over https, pushed to by its path on the host; asked for again, it stays as it is."""
    url = repositories.url(embedded.instance, "hello-go")
    cloned = git(embedded, "clone", "--depth=1", url, str(tmp_path / "one"))
    assert cloned.returncode == 0, cloned.stderr
    names = {each.name for each in (tmp_path / "one").iterdir()} - {".git"}
    assert names == {each.name for each in HELLO.iterdir()}

    work = str(tmp_path / "work")
    git(embedded, "clone", str(bare), work)
    git(embedded, "-C", work, "commit", "--allow-empty", "-m", "Change")
    pushed = git(embedded, "-C", work, "push", "origin", "HEAD:main")
    assert pushed.returncode == 0, pushed.stderr
    repositories.ensure(embedded.instance, "hello-go", HELLO)
    served = git(embedded, "ls-remote", url, "refs/heads/main").stdout.split()[0]

    assert served == git(embedded, "-C", work, "rev-parse", "HEAD").stdout.strip()


def test_nobody_pushes_over_the_network(
    embedded: support.Embedded, bare: Path, tmp_path: Path
) -> None:
    """Pods reach the server; only who may write to the folder may change a repository."""
    url = repositories.url(embedded.instance, "hello-go")
    work = str(tmp_path / "work")
    git(embedded, "clone", url, work)
    before = git(embedded, "ls-remote", str(bare)).stdout
    git(embedded, "-C", work, "commit", "--allow-empty", "-m", "Change")
    pushed = git(embedded, "-C", work, "push", "origin", "HEAD:main")

    assert pushed.returncode != 0
    assert git(embedded, "ls-remote", str(bare)).stdout == before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200),
        ("/hello-go.git/info/refs?service=git-upload-pack", 200),
        ("/hello-go.git/info/refs?service=git-receive-pack", 404),
        ("/hello-go.git/info/refs", 404),
        ("/hello-go.git/HEAD", 404),
        ("/hello-go.git/../authority.crt", 404),
        ("/..%2f..%2fpki/ca.key", 404),
        ("/../pki.git/info/refs?service=git-upload-pack", 404),
        ("/none.git/info/refs?service=git-upload-pack", 404),
        ("/authority.crt", 404),
    ],
)
def test_only_two_requests_are_let_through(
    embedded: support.Embedded, bare: Path, path: str, status: int
) -> None:
    """The refs and the objects of a repository that is there; nothing else of the folder."""
    assert bare.is_dir()
    assert status_of(embedded, path) == status


def test_endless_request_is_refused(embedded: support.Embedded, bare: Path) -> None:
    """By the length it names, before it is read."""
    assert bare.is_dir()
    assert status_of(embedded, "/hello-go.git/git-upload-pack", bytes((1 << 20) + 1)) == 413
    assert status_of(embedded, "/hello-go.git/git-receive-pack", b"0000") == 404


def test_name_that_could_leave_the_folder_is_refused(embedded: support.Embedded) -> None:
    """It becomes a file's name and part of an address."""
    for name in ("../x", "a/b", "", "-x", "x.git", "X"):
        with pytest.raises(errors.StackError, match="is no name"):
            repositories.ensure(embedded.instance, name, HELLO)
