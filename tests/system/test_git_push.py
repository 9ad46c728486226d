"""From a push to the repository that this host serves to the new version on the same URL."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bex_stack.embedded import repositories, supervision
from tests.support import load, requests, stacks
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(1800)  # a compiler on a machine that may be busy
BUILD_SECONDS = 900.0
STEPS = {"queue", "clone", "build", "push", "pull and start", "ready"}
EXAMPLE = stacks.ROOT / "examples" / "hello-go"
NAME = "hello-git"
HOST = f"{NAME}.localhost"


@dataclass(frozen=True)
class Served:
    """A stack whose App is built from a repository of the stack itself."""

    stack: stacks.Stack
    work: Path
    """Somebody's clone."""

    def push(self, words: str) -> str:
        """Let the program answer with *words*; return what the server says to who pushes."""
        text = (EXAMPLE / "main.go").read_text().replace("Hello from %s", f"{words} from %s")
        (self.work / "main.go").write_text(text)
        git("commit", "--quiet", "--all", "--message", words, cwd=self.work)
        return git("push", "--quiet", "origin", "HEAD", cwd=self.work)

    def answers(self, words: str) -> bool:
        """Whether the App's URL is answered with *words*."""
        return requests.get(self.stack, HOST).body.startswith(f"{words} from ")


def git(*arguments: str, cwd: Path | None = None) -> str:
    """Run git as nobody in particular; return what it says to people."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env={
            **os.environ,
            "GIT_CONFIG_GLOBAL": "/dev/null",
            **{f"GIT_{who}_NAME": "Ada" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "ada@example.com" for who in ("AUTHOR", "COMMITTER")},
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stderr


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A fresh stack, brought up by one command: the App is built while it comes up."""
    folder = tmp_path_factory.mktemp("pushed")
    stack = stacks.make(folder, number=7)
    stack.set_config("bex:repositories", [str(EXAMPLE)])
    stack.set_config("bex:baseImages", ["golang"])
    repo = repositories.url(stack.substrate, EXAMPLE.name)
    stack.write_app("hello_git", name=NAME, host=HOST, image=None, repo=repo)
    try:
        stack.up()
        git("clone", "--quiet", str(repositories.folder(stack.substrate) / "hello-go.git"), "work",
            cwd=folder)  # fmt: skip
        yield Served(stack, folder / "work")
    finally:
        stack.bex("destroy", "--yes")


def test_up_ends_with_the_app_that_was_built_from_git(served: Served) -> None:
    """Repository, base image and BuildKit are resources like any other; a second up is idle."""
    assert served.answers("Hello")
    assert served.stack.bex("preview", "--expect-no-changes").returncode == 0


def test_push_is_the_new_version_on_the_same_url_without_a_failed_request(served: Served) -> None:
    """Told by the repository's hook; the steps of the deploy add up to a breakdown."""
    with load.Load(served.stack.http_port, HOST, per_second=20) as asked:
        told = served.push("Good day")
        wait_until(lambda: served.answers("Good day"), "the push answers", BUILD_SECONDS)
    newest = json.loads(served.stack.bex("deploys", NAME, "--json").stdout)[0]
    print(f"{newest['seconds']}")  # noqa: T201 - the report

    assert f"told {NAME}" in told
    assert asked.lost == []
    assert len(asked.answered) == asked.sent
    assert (newest["subject"], newest["trigger"]) == ("Good day", "push")
    assert {"queue", "clone", "build", "push", "pull and start", "ready"} <= newest[
        "seconds"
    ].keys()


def test_server_that_is_gone_is_seen_and_comes_back(served: Served) -> None:
    """What serves the repository is a part of the stack like any other; pushes stay."""
    stack = served.stack
    supervision.stop(stack.substrate, [repositories.PROCESS])
    assert stack.bex("preview", "--expect-no-changes", check=False).returncode == 9
    stack.up()

    assert stack.bex("preview", "--expect-no-changes").returncode == 0
    assert repositories.is_served(stack.substrate, EXAMPLE.name)
