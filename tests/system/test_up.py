"""A stack brought up, changed and asked, by the real command on real machines."""

import subprocess

import pytest

from tests.support import requests, stacks
from tests.support.waiting import wait_until


def pod_identities(stack: stacks.Stack) -> set[tuple[str, int]]:
    """UID and restarts of every app pod."""
    return {
        (pod["metadata"]["uid"], status["restartCount"])
        for pod in requests.pods(stack)
        for status in pod["status"]["containerStatuses"]
    }


def test_up_ends_with_the_apps_and_where_they_answer(stack: stacks.Stack) -> None:
    """The last line names the app, its phase and its URL."""
    name, phase, revision, ready, url = stack.up().strip().splitlines()[-1].split()

    assert (name, phase, ready) == ("hello", "Running", "2/2")
    assert revision.startswith("rev-")
    assert url == f"http://hello.localhost:{stack.http_port}"


def test_url_is_answered_by_every_pod(stack: stacks.Stack) -> None:
    """Repeated requests reach both containers, and all have status 200."""
    answers: list[requests.Answer] = []

    def have_both_answered() -> bool:
        answers.append(requests.get(stack, "hello.localhost"))
        return len({answer.hostname for answer in answers}) == 2

    wait_until(have_both_answered, "both pods have answered")
    assert {answer.status for answer in answers} == {200}


def test_curl_follows_the_printed_url(stack: stacks.Stack) -> None:
    """What the table prints can be given to curl as it is."""
    url = stack.apps()[0]["url"]

    done = subprocess.run(
        ["curl", "--silent", "--fail", "--max-time", "60", url], capture_output=True, check=False
    )

    assert done.returncode == 0, done


def test_second_up_changes_nothing(stack: stacks.Stack) -> None:
    """No resource changes and no pod restarts."""
    before = pod_identities(stack)

    stack.up()

    assert stack.bex("preview", "--expect-no-changes").returncode == 0
    assert pod_identities(stack) == before


def test_changed_replicas_change_exactly_that_app(stack: stacks.Stack) -> None:
    """One more replica is one update in the preview, and its pods stay."""
    before = pod_identities(stack)
    stack.write_app("hello", replicas=3)

    planned = stack.changes()
    stack.up()

    assert planned == {"update": 1}
    assert pod_identities(stack) > before
    assert stack.apps()[0]["ready"] == "3/3"
    stack.write_app("hello", replicas=2)
    stack.up()


def test_new_and_removed_module_add_and_remove_an_app(stack: stacks.Stack) -> None:
    """A module is enough to deploy an app; without it, its objects are gone."""
    module = stack.write_app("other")
    stack.up()
    found = requests.get(stack, "other.localhost").status
    module.unlink()

    stack.up()

    assert found == 200
    wait_until(lambda: requests.get(stack, "other.localhost").status == 404, "the route is gone")
    assert requests.names(stack, "deployments") == {"hello"}


def test_preview_with_changes_pending_exits_with_its_code(stack: stacks.Stack) -> None:
    """`--expect-no-changes` turns pending changes into exit code 9."""
    module = stack.write_app("third")
    try:
        assert stack.bex("preview", "--expect-no-changes", check=False).returncode == 9
    finally:
        module.unlink()


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_status_shows_machines_pods_and_processes(stack: stacks.Stack, option: list[str]) -> None:
    """The picture and its JSON name machines, pods and the processes that keep them."""
    shown = stack.bex("status", *option).stdout

    assert all(word in shown for word in ("control-plane", "worker-1", "hello", "kube-apiserver"))


def test_secret_output_is_masked_unless_asked_for(stack: stacks.Stack) -> None:
    """The kubeconfig's place is a secret output."""
    assert "kubeconfig: [secret]" in stack.bex("outputs").stdout
    assert str(stack.home) in stack.bex("outputs", "--show-secrets").stdout
