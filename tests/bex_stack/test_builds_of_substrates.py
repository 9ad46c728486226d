"""What builds are given on machines that Cluster API makes: images, keys, a place, a way out."""

import json
from pathlib import Path
from typing import Any

import pytest

from bex_operator.controllers import build_settings
from bex_operator.plan import build_jobs
from bex_stack import errors, program, stack_files
from components.manifests import caph, cluster_builds, operator_pod, zot
from tests.support import pulumi_recorder

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "ab" * 32
IMAGES = {
    "builderImage": f"localhost:5050/bex/builder@{DIGEST}",
    "scannerImage": f"localhost:5050/bex/scanner@{DIGEST}",
}
STACKS = ("local", "hetzner")


def record(stack: str, *, preview: bool = True, **config: str) -> pulumi_recorder.Recording:
    """Record what the program registers for *stack*, with further settings."""
    given = stack_files.read_config(ROOT / f"Pulumi.{stack}.yaml")
    more = {f"bex:{key}": value for key, value in config.items()}
    return pulumi_recorder.record(
        program.deploy, stack=stack, config={**given, **more}, preview=preview
    )


@pytest.fixture(scope="module", params=STACKS)
def recording(request: pytest.FixtureRequest) -> pulumi_recorder.Recording:
    """A stack that builds, and whose repositories may be at one inner address."""
    return record(request.param, **IMAGES, innerNetworks='["10.0.7.5/32:22"]')


def objects(recording: pulumi_recorder.Recording, kind: str) -> dict[str, dict[str, Any]]:
    """The Kubernetes objects of a kind, by name."""
    return {
        each.inputs["metadata"]["name"]: pulumi_recorder.reveal(each.inputs)
        for each in recording.resources
        if each.inputs.get("kind") == kind
    }


def platform(recording: pulumi_recorder.Recording, folder: Path) -> build_jobs.Platform:
    """What the operator's pods make of what they mount."""
    (pod,) = [
        each["spec"]["template"]["spec"]
        for name, each in objects(recording, "Deployment").items()
        if name == operator_pod.NAME
    ]
    (volume,) = [each["secret"]["secretName"] for each in pod["volumes"]]
    told = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert told["BEX_BUILDS"] == cluster_builds.FILE
    held = objects(recording, "Secret")[volume]["stringData"]
    text = held[cluster_builds.SETTINGS].replace(cluster_builds.FOLDER, str(folder))
    (folder / cluster_builds.TOKEN_KEY).write_text("signs")
    (folder / cluster_builds.SETTINGS).write_text(text)
    return build_settings.read(folder / cluster_builds.SETTINGS)


def test_operator_is_told_how_repositories_are_built(
    recording: pulumi_recorder.Recording, tmp_path: Path
) -> None:
    """Images by digest, the registry's port for tokens, tried before a build begins."""
    found = platform(recording, tmp_path)

    assert (found.image, found.scanner) == (IMAGES["builderImage"], IMAGES["scannerImage"])
    assert found.registry.endpoint.endswith(f":{zot.BUILDS_PORT}")
    assert found.registry.is_tried
    assert found.inner == ("10.0.7.5/32",)


def test_builds_on_hetzner_run_on_machines_made_for_them(tmp_path: Path) -> None:
    """The pool carries what pods of builds ask for; without a pool they run where Apps do."""
    with_pool = platform(record("hetzner", **IMAGES), tmp_path)
    without = platform(record("hetzner", **IMAGES, buildMachinesMax="0"), tmp_path)
    templates = objects(record("hetzner", **IMAGES), "KubeadmConfigTemplate")
    (pool,) = [
        each["spec"]["template"]["spec"]["joinConfiguration"]["nodeRegistration"]
        for name, each in templates.items()
        if "-build-" in name
    ]

    labels = {each["name"]: each["value"] for each in pool["kubeletExtraArgs"]}["node-labels"]
    assert dict(with_pool.node_selector) == {caph.POOL_LABEL: caph.BUILD_POOL}
    assert f"{caph.POOL_LABEL}={caph.BUILD_POOL}" in labels.split(",")
    assert [each["key"] for each in pool["taints"]] == [with_pool.taint]
    assert (dict(without.node_selector), without.taint) == ({}, "")


def test_machines_pull_with_a_password_that_stands_in_no_template(
    recording: pulumi_recorder.Recording,
) -> None:
    """The file comes from a Secret; what is for everybody stays readable."""
    templates = objects(recording, "KubeadmConfigTemplate")
    text = json.dumps(templates, sort_keys=True)

    assert templates
    assert text.count('{"key": "hosts.toml", "name": "bex-registry-login"}') == len(templates)
    assert "authorization" not in text
    login = recording.named("app-cluster-secret-bex-registry-login").inputs["stringData"]
    assert pulumi_recorder.is_secret(login["hosts.toml"])


def test_inner_addresses_of_repositories_are_open_to_builds(
    recording: pulumi_recorder.Recording,
) -> None:
    """At their port, beside what every build may reach."""
    policy = objects(recording, "NetworkPolicy")["bex-builds-reach"]

    assert {
        "to": [{"ipBlock": {"cidr": "10.0.7.5/32"}}],
        "ports": [{"port": 22, "protocol": "TCP"}],
    } in policy["spec"]["egress"]


@pytest.mark.parametrize("stack", STACKS)
def test_app_with_a_repository_needs_what_builds_it(stack: str) -> None:
    """A preview goes on; an `up` names the App and the setting."""
    previewed = record(stack, apps='["hello-git"]')

    assert "bex-builds-reach" not in objects(previewed, "NetworkPolicy")
    with pytest.raises(
        errors.BadSettings, match="'hello-git' has a repository and bex:builderImage is not set"
    ):
        record(stack, preview=False, apps='["hello-git"]')


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"builderImage": IMAGES["builderImage"]}, "go together"),
        ({**IMAGES, "builderImage": "localhost:5050/bex/builder:1"}, "bex:builderImage"),
        ({"innerNetworks": '["10.0.7.5"]'}, "10.0.7.5"),
        ({"innerNetworks": '["10.0.7.5/32:0"]'}, "port"),
        ({"innerNetworks": '["10.0.7.5/8:22"]'}, "10.0.7.5/8:22"),
        (
            {**IMAGES, "registryUrl": "http://r.lan:5000", "operatorImage": "a/b:1"},
            "only the stack's own registry",
        ),
        ({**IMAGES, "podNetwork": "11.0.0.0/16"}, "11.0.0.0/16 cannot be had"),
    ],
    ids=[
        "one image",
        "no digest",
        "no port",
        "port 0",
        "host bits",
        "foreign registry",
        "public pods",
    ],
)
def test_settings_of_builds_that_cannot_be_are_refused(given: dict[str, str], words: str) -> None:
    """Before anything is registered, with the key and the rule."""
    with pytest.raises(errors.BadSettings, match=words):
        record("local", **given)
