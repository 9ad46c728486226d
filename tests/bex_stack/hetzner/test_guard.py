"""The pre-flight in the program: before anything is registered, and never in an offline preview."""

import pytest

from bex_stack import program, stack_files
from bex_stack.hetzner import access, cloud, guard
from components import pins
from tests.bex_stack.hetzner import examples
from tests.support import hetzner_api, pulumi_recorder
from tests.support.hetzner_api import Hetzner


@pytest.fixture(autouse=True)
def locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything from outside have a checksum, so that an `up` is not refused for that."""
    every = (*pins.IMAGES, *pins.NODE_IMAGES.values())
    made = pins.Lock(
        {each.name: "ab" * 32 for each in pins.FILES},
        {each.reference: f"sha256:{'ab' * 32}" for each in every},
    )
    monkeypatch.setattr(pins, "lock", lambda: made)
    monkeypatch.delenv(access.VARIABLE, raising=False)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, hetzner: Hetzner) -> Hetzner:
    """Let the program ask the made-up Hetzner."""
    monkeypatch.setenv(access.ENDPOINT_VARIABLE, hetzner.url)
    return hetzner


def run(*, preview: bool, token: str = hetzner_api.TOKEN) -> pulumi_recorder.Recording:
    """Run the checked-in stack's program with everything set that an `up` asks for."""
    given = stack_files.read_config(examples.ROOT / "Pulumi.hetzner.yaml")
    more = {
        "bex:sshPublicKey": "ssh-ed25519 AAAA me",
        "bex:operatorImage": f"registry.example/bex@sha256:{'ab' * 32}",
        **({"hcloud:token": token} if token else {}),
    }
    config = {**given, **more}
    return pulumi_recorder.record(program.deploy, stack="hetzner", config=config, preview=preview)


def test_up_of_an_unfit_project_registers_nothing(endpoint: Hetzner) -> None:
    """The first thing that would be made is not."""
    endpoint.seed("networks", name="bex-infra")

    with pytest.raises(guard.NotFit, match=r"bex-node-v1\.36\.4") as refused:
        run(preview=False)
    assert "networks bex-infra" in str(refused.value)
    assert {method for method, _ in endpoint.requests} == {"GET", "POST"}
    assert set(endpoint.labels_of("networks")) == {"bex-infra"}


def test_up_of_a_fit_project_goes_on(endpoint: Hetzner) -> None:
    """The program registers everything once the project is fit."""
    examples.add_machine_image(endpoint)

    assert len(run(preview=False).resources) > 80


def test_up_without_a_token_is_refused(endpoint: Hetzner) -> None:
    """It is said which key, and nobody is asked."""
    with pytest.raises(cloud.BadToken, match="hcloud:token is not set"):
        run(preview=False, token="")
    assert endpoint.requests == []


def test_preview_without_a_token_asks_nobody(endpoint: Hetzner) -> None:
    """It works offline and without an account."""
    assert len(run(preview=True, token="").resources) > 80
    assert endpoint.requests == []


def test_preview_with_a_token_goes_on_whatever_is_found(endpoint: Hetzner) -> None:
    """It tells, and an `up` refuses; a preview is for looking."""
    assert len(run(preview=True).resources) > 80
    assert ("GET", "/pricing") in endpoint.requests


def test_preview_goes_on_when_hetzner_does_not_answer(endpoint: Hetzner) -> None:
    """Nobody there is no reason to show nothing."""
    endpoint.fail("GET", "/locations", "drop", times=9)

    assert len(run(preview=True).resources) > 80


def test_token_is_in_no_registration_but_its_secret(endpoint: Hetzner) -> None:
    """Only the Secret that Cluster API reads has it, marked."""
    recording = run(preview=True)

    holders = [
        each.name
        for each in recording.resources
        if hetzner_api.TOKEN in str(pulumi_recorder.reveal(each.inputs))
    ]
    assert holders == ["app-cluster-secret-hetzner"]
    secret = recording.named("app-cluster-secret-hetzner").inputs["stringData"]["hcloud"]
    assert pulumi_recorder.is_secret(secret)
