"""One program on three substrates: what is the same, what comes first, and what is let in."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bex_stack import errors, program, settings, stack_files
from components import pins
from components.manifests import operator, operator_pod
from tests.support import pulumi_recorder

ROOT = Path(__file__).parents[2]
DOCKER = "docker:index/remoteImage"
STACKS = ("embedded", "local", "hetzner")
APP_LAYER = ("bex:components:AppOperator", "bex:components:AppSet")
SAME_APPS = '["*", "!hello-git"]'
"""All but the one whose repository only the embedded stack serves."""

Manifests = dict[str, Any]


def record(stack: str, **config: str) -> pulumi_recorder.Recording:
    """Record what the program registers for *stack*, with further settings."""
    given = stack_files.read_config(ROOT / f"Pulumi.{stack}.yaml")
    more = {f"bex:{key}": value for key, value in config.items()}
    return pulumi_recorder.record(program.deploy, stack=stack, config={**given, **more})


@pytest.fixture(scope="module")
def recordings() -> dict[str, pulumi_recorder.Recording]:
    """Record every stack as it is checked in, with the same apps on each."""
    return {stack: record(stack, apps=SAME_APPS) for stack in STACKS}


def app_layer(recording: pulumi_recorder.Recording) -> Manifests:
    """Return the objects of the App layer by kind and name, without what a stack may choose."""
    return {
        f"{each.type} {each.name}": without_choices(each.inputs)
        for each in recording.resources
        if each.is_custom
        and each.parent.split("::")[2].rsplit("$", 1)[-1] in APP_LAYER
        and each.inputs["metadata"]["name"] not in {operator.EDGE, operator.CERTIFYING}
        and each.inputs["kind"] != "Secret"
    }


def without_choices(manifest: Mapping[str, Any]) -> Manifests:
    """Leave out what differs by design.

    Arguments of the operator's one Deployment: image, options and the Secrets they name, number,
    place; and the rights that one of them takes. And rights of the processes that run beside an
    embedded cluster, as users of it:
    elsewhere nobody is these users.
    """
    plain: Manifests = json.loads(json.dumps(manifest))
    named = [plain] if "subjects" in plain else []
    if plain["kind"] == "FlowSchema":
        named = plain["spec"]["rules"]
    for each in named:
        each["subjects"] = [one for one in each["subjects"] if one["kind"] != "User"]
    if plain["kind"] == "Deployment":
        pod = plain["spec"]["template"]["spec"]
        plain["spec"].pop("replicas")
        pod.pop("nodeSelector", None)
        pod.pop("volumes")
        for constraint in pod["topologySpreadConstraints"]:
            constraint.pop("minDomains")
        for container in pod["containers"]:
            container.pop("image")
            container.pop("env")
            container.pop("volumeMounts")
    return plain


def first_difference(ours: Manifests, theirs: Manifests) -> str:
    """Say where two App layers differ first; empty if nowhere."""
    for key in sorted(ours.keys() | theirs.keys()):
        pair = [json.dumps(side.get(key), indent=1, sort_keys=True) for side in (ours, theirs)]
        lines = itertools.zip_longest(*(text.splitlines() for text in pair), fillvalue="(nothing)")
        for number, (one, other) in enumerate(lines, 1):
            if one != other:
                return f"{key}, line {number}: {one.strip()} != {other.strip()}"
    return ""


@pytest.mark.parametrize("stack", ["local", "hetzner"])
def test_app_layer_is_the_same_bytes_as_on_the_embedded_stack(
    recordings: dict[str, pulumi_recorder.Recording], stack: str
) -> None:
    """CRD, rights, operator and Apps do not know what machines they run on."""
    ours, theirs = app_layer(recordings["embedded"]), app_layer(recordings[stack])

    assert len(ours) > 12
    assert first_difference(ours, theirs) == ""


@pytest.mark.parametrize(
    ("stack", "issuer"),
    [("embedded", None), ("local", "bex-local"), ("hetzner", "letsencrypt-staging")],
)
def test_operator_is_told_who_signs_certificates_of_hosts(
    recordings: dict[str, pulumi_recorder.Recording], stack: str, issuer: str | None
) -> None:
    """An issuer that the stack makes; the embedded stack's edge has an authority of its own."""
    made = [each.inputs for each in recordings[stack].resources if "kind" in each.inputs]
    (deployment,) = [
        each
        for each in made
        if (each["kind"], each["metadata"]["name"]) == ("Deployment", operator_pod.NAME)
    ]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each["value"] for each in container["env"]}
    issuers = {each["metadata"]["name"] for each in made if each["kind"] == "ClusterIssuer"}
    roles = [each for each in made if each["metadata"]["name"] == operator.CERTIFYING]

    assert told.get("BEX_CERTIFICATE_ISSUER") == issuer
    assert issuer is None or issuer in issuers
    assert bool(roles) is (issuer is not None)


def test_first_difference_of_app_layers_is_named() -> None:
    """The comparison above can fail, and says where."""
    ours = {"App a": {"spec": {"port": 1}}}

    said = first_difference(ours, {"App a": {"spec": {"port": 2}}})
    assert said == 'App a, line 3: "port": 1 != "port": 2'


@pytest.mark.parametrize("stack", STACKS)
def test_nothing_is_registered_before_what_it_depends_on(
    recordings: dict[str, pulumi_recorder.Recording], stack: str
) -> None:
    """Dependencies, parents and providers come earlier in the list."""
    seen: set[str] = set()
    early = []
    for each in recordings[stack].resources:
        needed = {*each.dependencies, each.parent, each.provider.rpartition("::")[0]} - {""}
        early += [(each.name, urn) for urn in needed - seen]
        seen.add(each.urn)

    assert early == []


@pytest.mark.parametrize("stack", ["local", "hetzner"])
def test_kubernetes_objects_name_their_cluster(
    recordings: dict[str, pulumi_recorder.Recording], stack: str
) -> None:
    """Without a provider they would go to whatever cluster the user's kubeconfig names."""
    lost = [
        each.name
        for each in recordings[stack].resources
        if each.type.startswith("kubernetes:") and "::default" in (each.provider or "::default")
    ]

    assert lost == []


@pytest.mark.parametrize("stack", ["local", "hetzner"])
def test_nothing_comes_from_outside_that_is_not_pinned(
    recordings: dict[str, pulumi_recorder.Recording], stack: str
) -> None:
    """Every image, chart and address that a rendered stack names stands in the table."""
    lock = pins.lock()
    images = {*(each.reference for each in (*pins.IMAGES, *pins.NODE_IMAGES.values()))}
    known = {*images, *(lock.reference(each) for each in pins.NODE_IMAGES.values())}
    own = re.compile(r"localhost:5050/|bex-operator:not-set|traefik/whoami")

    found = {
        text
        for each in recordings[stack].resources
        for text in images_in(pulumi_recorder.reveal(each.inputs))
    }
    assert {text for text in found if text not in known and not own.match(text)} == set()


@pytest.mark.parametrize("stack", ["local", "hetzner"])
def test_addresses_in_rendered_stacks_are_pinned_or_named_here(
    recordings: dict[str, pulumi_recorder.Recording], stack: str
) -> None:
    """A new address that something could be fetched from is seen in review."""
    pinned = {file.url for file in pins.FILES}
    services = {
        "https://acme-staging-v02.api.letsencrypt.org/directory",
        "https://acme-v02.api.letsencrypt.org/directory",
    }
    text = json.dumps([pulumi_recorder.reveal(r.inputs) for r in recordings[stack].resources])
    found = set(re.findall(r"https://[a-z0-9.-]+\.[a-z]{2,}/[^\s\"\\]+", text))

    assert {url for url in found if "{host}" not in url} <= pinned | services


@pytest.mark.parametrize("stack", ["local", "hetzner"])
def test_charts_are_files_of_the_pinned_folder(
    recordings: dict[str, pulumi_recorder.Recording], stack: str
) -> None:
    """No chart comes from a repository."""
    names = {file.name for file in pins.FILES}
    releases = recordings[stack].of_type("kubernetes:helm.sh/v3:Release")

    assert len(releases) >= 5
    assert all(r.inputs["chart"].removeprefix(".bex/pins/") in names for r in releases)
    assert all("repositoryOpts" not in r.inputs for r in releases)


def test_mirror_takes_the_place_of_everything_outside_but_no_name_of_an_image() -> None:
    """Charts come from its folder, machines ask its registry; the App layer stays as it is."""
    plain = record("local")
    mirrored = record("local", mirror='["mirror.lan:5000", "/srv/bex"]')
    releases = mirrored.of_type("kubernetes:helm.sh/v3:Release")
    bootstrap = mirrored.of_type(
        "kubernetes:bootstrap.cluster.x-k8s.io/v1beta2:KubeadmConfigTemplate"
    )
    files = {
        f["path"]: f.get("content", "")
        for f in bootstrap[0].inputs["spec"]["template"]["spec"]["files"]
    }

    assert all(release.inputs["chart"].startswith("/srv/bex/") for release in releases)
    pulled = [each.inputs["name"] for each in mirrored.of_type(f"{DOCKER}:RemoteImage")]
    assert len(pulled) == 2
    assert all(name.startswith("mirror.lan:5000/") for name in pulled)
    for public in ("docker.io", "ghcr.io", "quay.io", "registry.k8s.io"):
        content = files[f"/etc/containerd/certs.d/{public}/hosts.toml"]
        assert set(re.findall(r"https?://[^\"]+", content)) == {"http://mirror.lan:5000"}
    assert first_difference(app_layer(plain), app_layer(mirrored)) == ""


def test_pod_network_is_the_chosen_one(
    recordings: dict[str, pulumi_recorder.Recording],
) -> None:
    """`none` leaves it to somebody else."""
    asked = {
        "calico": recordings["local"],
        "cilium": recordings["hetzner"],
        "none": record("local", cni="none"),
    }
    found = {
        cni: {r.inputs["name"] for r in recording.of_type("kubernetes:helm.sh/v3:Release")}
        for cni, recording in asked.items()
    }

    networks = {cni: names & {"calico", "cilium"} for cni, names in found.items()}
    assert networks == {"calico": {"calico"}, "cilium": {"cilium"}, "none": set()}


def test_existing_cluster_api_is_used_as_it_is(tmp_path: Path) -> None:
    """No kind cluster, no `clusterctl init`: the given kubeconfig leads to it."""
    (tmp_path / "kubeconfig").write_text("kind: Config\n")
    found = record("local", clusterApi="existing", infraKubeconfig=str(tmp_path / "kubeconfig"))

    types = {each.type for each in found.resources}
    assert not types & {
        "pulumi-python:dynamic/bex:KindCluster",
        "pulumi-python:dynamic/bex:ClusterApi",
    }
    assert "kubernetes:cluster.x-k8s.io/v1beta2:Cluster" in types


def test_autoscaled_machines_have_no_number_of_their_own() -> None:
    """A number would be enforced against the autoscaler's."""
    found = record("local", workersMin="1", workersMax="4")
    (pool,) = found.of_type("kubernetes:cluster.x-k8s.io/v1beta2:MachineDeployment")
    group = "cluster.x-k8s.io/cluster-api-autoscaler-node-group"

    assert "replicas" not in pool.inputs["spec"]
    assert pool.inputs["metadata"]["annotations"][f"{group}-min-size"] == "1"
    assert pool.inputs["metadata"]["annotations"][f"{group}-max-size"] == "4"
    assert found.named("autoscaler").type == "bex:components:Autoscaler"


def test_up_is_refused_while_something_has_no_checksum() -> None:
    """A preview says it; an `up` does not begin."""
    config = stack_files.read_config(ROOT / "Pulumi.hetzner.yaml")

    with pytest.raises(errors.BadSettings, match="bex:operatorImage is not set") as refused:
        pulumi_recorder.record(program.deploy, stack="hetzner", config=config, preview=False)
    assert "have no checksum yet" in str(refused.value)


def test_cloud_controllers_use_the_secret_that_the_provider_copies(
    recordings: dict[str, pulumi_recorder.Recording],
) -> None:
    """One token, in one place; its value stands in no chart."""
    recording = recordings["hetzner"]
    secret = recording.named("app-cluster-secret-hetzner").inputs
    values = {
        each.inputs["name"]: each.inputs["values"]
        for each in recording.of_type("kubernetes:helm.sh/v3:Release")
    }
    controller = values["hcloud-ccm"]["env"]["HCLOUD_TOKEN"]["valueFrom"]["secretKeyRef"]
    driver = values["hcloud-csi"]["controller"]["hcloudToken"]["existingSecret"]

    assert controller == driver == {"name": "hetzner", "key": "hcloud"}
    assert list(secret["stringData"]) == ["hcloud"]
    assert pulumi_recorder.is_secret(secret["stringData"]["hcloud"])


def test_operator_image_stands_on_pinned_images() -> None:
    """The Dockerfile's own choice, for builds by hand, is the table's."""
    lines = (ROOT / "operator/Dockerfile").read_text().splitlines()
    chosen = dict(line.removeprefix("ARG ").split("=", 1) for line in lines if line[:4] == "ARG ")

    assert chosen["BUILD"] == pins.OPERATOR_BUILD.reference
    assert chosen["RUNTIME"] == pins.OPERATOR_RUNTIME.reference


def images_in(value: Any) -> Iterator[str]:
    """Find every image that an object names."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("image", "customImage") and isinstance(each, str) and ":" in each:
                if not each.startswith("sha256:"):
                    yield each
            else:
                yield from images_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from images_in(each)


def test_local_stack_on_what_one_brings_along_needs_no_cli(tmp_path: Path) -> None:
    """With every door open nothing is left that only a plugin can make."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("made up")
    recording = record(
        "local",
        clusterApi="existing",
        infraKubeconfig=str(kubeconfig),
        cni="none",
        platform="none",
        registryUrl="http://registry.lan:5000",
        operatorImage="localhost:5050/bex/operator:1",
    )
    foreign = {
        each.type
        for each in recording.resources
        if each.is_custom
        and (not each.type.startswith(("kubernetes:", "pulumi")) or "helm.sh" in each.type)
    }

    assert foreign == set()
    assert recording.of_type("kubernetes:cluster.x-k8s.io/v1beta2:Cluster")
    files = json.dumps([each.inputs for each in recording.resources])
    assert "http://registry.lan:5000" in files


@pytest.mark.parametrize("stack", ["local", "hetzner"])
def test_patience_with_machines_is_a_setting(stack: str) -> None:
    """Every health check waits as long as the stack says."""
    checks = record(stack, unhealthySeconds="90").of_type(
        "kubernetes:cluster.x-k8s.io/v1beta2:MachineHealthCheck"
    )
    seconds = {
        condition["timeoutSeconds"]
        for check in checks
        for condition in check.inputs["spec"]["checks"]["unhealthyNodeConditions"]
    }

    assert seconds == {90}


def test_stack_on_what_one_brings_along_waits_for_no_checksum() -> None:
    """What is left out needs none, or an `up` would be refused for something it never fetches."""
    given = {
        **stack_files.read_config(ROOT / "Pulumi.local.yaml"),
        "bex:clusterApi": "existing",
        "bex:infraKubeconfig": "made-up",
        "bex:cni": "none",
        "bex:platform": "none",
        "bex:registryUrl": "http://registry.lan:5000",
        "bex:operatorImage": "localhost:5050/bex/operator:1",
        "bex:loadBalancerImage": "registry.lan/haproxy:1",
    }
    stack = settings.parse(given, source="Pulumi.test.yaml")

    assert set(pins.Lock({}, {}).missing("capd")) - stack.left_out == set()
