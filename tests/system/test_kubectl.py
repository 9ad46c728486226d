"""An App as people see it who use kubectl, the one that the stack was built with."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from bex_stack.embedded import toolchain
from tests.support import requests, stacks
from tests.support.embedded import pid_in_pod
from tests.support.waiting import wait_until

COMMAND_SECONDS = 180


@pytest.fixture
def scaled(stack: stacks.Stack) -> Iterator[stacks.Stack]:
    """The stack with an App of its own: who scales one by hand owns its replicas from then on."""
    module = stack.write_app("scaled")
    try:
        stack.up()
        yield stack
    finally:
        module.unlink()
        stack.up()


def kubectl(stack: stacks.Stack, *arguments: str) -> str:
    """What kubectl prints in the namespace of the Apps."""
    program = toolchain.ensure(("kubectl",)).path("kubectl")
    config = f"--kubeconfig={stack.substrate.kubeconfig}"
    return subprocess.run(
        [program, config, "--namespace=bex-apps", *arguments],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=True,
    ).stdout


def test_get_shows_state_address_and_age(stack: stacks.Stack) -> None:
    """One line for each App, in words for people."""
    kubectl(stack, "wait", "--for=condition=Ready", "app/hello", "--timeout=120s")

    header, *rows = kubectl(stack, "get", "apps").splitlines()

    assert header.split() == ["NAME", "PHASE", "REVISION", "URL", "READY", "AGE"]
    (row,) = (each.split() for each in rows if each.startswith("hello "))
    url = f"http://hello.localhost:{stack.http_port}"
    assert row[1] == "Running"
    assert row[3:5] == [url, "True"]


def test_describe_tells_conditions_and_events(stack: stacks.Stack) -> None:
    """With what the operator saw become of it."""
    said = kubectl(stack, "describe", "app", "hello")

    assert "Observed Generation:" in said
    assert "Type:                  Ready" in said
    assert "Deployed" in said.partition("Events:")[2]


def test_explain_has_a_sentence_for_a_field(stack: stacks.Stack) -> None:
    """The one that the Python model has."""
    said = " ".join(kubectl(stack, "explain", "app.spec.healthCheckPath").split())

    assert "Path that answers 2xx or 3xx when the App is well." in said


def test_refusal_has_the_words_of_the_model(stack: stacks.Stack) -> None:
    """Nothing is changed."""
    patch = json.dumps({"spec": {"host": "nohost"}})

    with pytest.raises(subprocess.CalledProcessError) as refused:
        kubectl(stack, "patch", "app", "hello", "--type=merge", f"--patch={patch}")

    assert "must be a full host name of at least two labels" in refused.value.stderr


def test_scale_is_followed_to_ready(scaled: stacks.Stack) -> None:
    """`kubectl scale` and `kubectl wait` do with an App what they do with a Deployment."""
    kubectl(scaled, "scale", "app/scaled", "--replicas=2")
    generation = kubectl(scaled, "get", "app", "scaled", "--output=jsonpath={.metadata.generation}")
    seen = f"--for=jsonpath={{.status.observedGeneration}}={generation}"
    kubectl(scaled, "wait", seen, "app/scaled", "--timeout=120s")
    kubectl(scaled, "wait", "--for=condition=Ready", "app/scaled", "--timeout=120s")

    assert _ready(scaled, "scaled") == "2/2"


def test_program_has_the_last_word(scaled: stacks.Stack) -> None:
    """What was set by hand stays until the program says something else."""
    kubectl(scaled, "scale", "app/scaled", "--replicas=2")
    scaled.up()
    by_hand = kubectl(scaled, "get", "app", "scaled", "--output=jsonpath={.spec.replicas}")
    scaled.write_app("scaled", replicas=3)

    scaled.up()

    assert by_hand == "2"
    assert _ready(scaled, "scaled") == "3/3"


def _ready(stack: stacks.Stack, name: str) -> str:
    ready: str = next(app["ready"] for app in stack.apps() if app["name"] == name)
    return ready


def test_previous_container_is_heard(stack: stacks.Stack) -> None:
    """Its lines stay when the container has ended and another one took its place."""
    name = requests.pods(stack)[0]["metadata"]["name"]
    subprocess.run(["kill", "-KILL", str(pid_in_pod(name))], check=True, timeout=10)

    def heard() -> bool:
        lines = stack.bex("logs", "hello", "--previous", check=False).stdout.splitlines()
        return any(each.startswith(f"{name} | ") and "listening" in each for each in lines)

    wait_until(heard, f"the container that was killed in {name} is heard")
