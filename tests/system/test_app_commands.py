"""The commands about one app, on a stack with a running one."""

import getpass
import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import requests, stacks
from tests.support.waiting import wait_until


@pytest.fixture
def parked(stack: stacks.Stack) -> Iterator[stacks.Stack]:
    """The stack with its app suspended; resumed afterwards whatever a test did."""
    stack.bex("suspend", "hello")
    yield stack
    stack.bex("resume", "hello")


@pytest.fixture
def broken(stack: stacks.Stack) -> Iterator[str]:
    """Name of an app whose container cannot start."""
    module = stack.write_app("broken", command=("/no-such-program",))
    process = subprocess.Popen(
        stack.command("up", "--yes"), env=stack.env(), stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: "CrashLoopBackOff" in _why(stack), "the crash is told")
        yield "broken"
    finally:
        process.terminate()
        process.wait()
        module.unlink()
        stack.up()


def _why(stack: stacks.Stack) -> str:
    return stack.bex("why", "broken", check=False).stdout


def test_restart_replaces_the_pods(stack: stacks.Stack) -> None:
    """Every pod is another one, of a release of who asked; a later `up` has nothing to change."""
    before = {pod["metadata"]["uid"] for pod in requests.pods(stack)}

    said = stack.bex("restart", "hello").stdout.splitlines()[-1]

    assert said.startswith("hello: restarted as rev-")
    newest = json.loads(stack.bex("releases", "hello", "--json").stdout)[0]
    assert newest["who"] == getpass.getuser()
    assert newest["digest"].startswith("sha256:"), "the operator's pods may ask the registry"
    wait_until(
        lambda: not before & {pod["metadata"]["uid"] for pod in requests.pods(stack)},
        "the old pods are gone",
    )
    assert stack.changes() == {}


def test_suspended_app_has_no_pods_and_survives_an_up(parked: stacks.Stack) -> None:
    """It answers 503 at its address; `up` of the same program leaves it parked."""
    parked.bex("up", "--yes")

    assert parked.apps()[0]["phase"] == "Hibernated"
    wait_until(lambda: requests.get(parked, "hello.localhost").status == 503, "it says so")
    assert "is suspended already" in parked.bex("suspend", "hello").stdout


def test_suspended_app_comes_back(stack: stacks.Stack) -> None:
    """Resume waits until it serves."""
    stack.bex("suspend", "hello")

    said = stack.bex("resume", "hello").stdout.splitlines()[-1]

    assert said.startswith("hello: serves again as rev-")
    wait_until(lambda: requests.get(stack, "hello.localhost").status == 200, "it answers")


def test_logs_are_those_of_every_pod(stack: stacks.Stack) -> None:
    """Each line names its pod; those that have just left may still be among them."""

    def have_all_spoken() -> bool:
        lines = stack.bex("logs", "hello").stdout.splitlines()
        said_by = {line.split(" | ")[0] for line in lines}
        return said_by >= {pod["metadata"]["name"] for pod in requests.pods(stack)}

    wait_until(have_all_spoken, "the logs have lines of every pod")


def test_followed_logs_go_on_with_new_pods(stack: stacks.Stack) -> None:
    """Lines of pods that come later appear without asking again."""
    with subprocess.Popen(
        stack.command("logs", "hello", "--follow"),
        env=stack.env(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            old = {pod["metadata"]["name"] for pod in requests.pods(stack)}
            stack.bex("restart", "hello")
            new = {pod["metadata"]["name"] for pod in requests.pods(stack)} - old
            found = next(line for line in process.stdout if line.split(" | ")[0] in new)
        finally:
            process.terminate()

    assert first.split(" | ")[0] not in new
    assert "listening" in found


def test_deploys_follow_until_the_release_serves(stack: stacks.Stack) -> None:
    """With nothing on its way, one line and the table."""
    lines = stack.bex("deploys", "hello", "--follow").stdout.splitlines()

    assert "Running" in lines[0]
    assert any("serving" in line for line in lines)


def test_why_names_the_cause_and_where_it_is(broken: str, stack: stacks.Stack) -> None:
    """From the condition down to the container of the pod."""
    wanted = ("Ready: CrashLoopBackOff", "pod broken-", "no-such-program")

    def is_told() -> bool:  # between two tries of the container it is told otherwise
        chain = json.loads(stack.bex("why", broken, "--json").stdout)
        bad = [link["text"] for link in chain if link["good"] is False]
        return all(any(words in text for text in bad) for words in wanted)

    wait_until(is_told, "condition, pod and container are named")


@pytest.mark.parametrize(
    "command",
    [["restart"], ["suspend"], ["resume"], ["why"], ["logs"], ["releases"], ["deploys"]],
)
def test_unknown_app_is_refused(stack: stacks.Stack, command: list[str]) -> None:
    """The message names it and says where the known ones are listed."""
    done = stack.bex(*command, "nobody", check=False)

    assert done.returncode == 1
    assert "there is no App 'nobody'; `bex apps` lists them" in done.stderr


def test_exec_runs_a_command_in_the_container(stack: stacks.Stack) -> None:
    """Its output and exit code are the command's: a second server finds its port taken."""
    done = subprocess.run(
        [*stack.command("exec", "hello"), "--", "/hello-go"],
        env=stack.env(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 1
    assert "address already in use" in done.stdout + done.stderr
