"""The policy pack's rules: no stack breaks one, and each can be broken."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bex_stack import program, stack_files
from components import pins
from tests.support import pulumi_recorder

ROOT = Path(__file__).parents[2]
DIGEST = f"sha256:{'ab' * 32}"
OPEN = ["0.0.0.0/0"]


def load_rules() -> ModuleType:
    """Import the pack's rules as the pack does: it is a folder of its own, not a package."""
    spec = importlib.util.spec_from_file_location("policy_rules", ROOT / "policy/rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


rules = load_rules()


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every image have a digest, as after `bex pins lock`."""
    every = (*pins.IMAGES, *pins.NODE_IMAGES.values())
    made = pins.Lock(
        {each.name: "ab" * 32 for each in pins.FILES}, {each.reference: DIGEST for each in every}
    )
    monkeypatch.setattr(pins, "lock", lambda: made)


def violations(recording: pulumi_recorder.Recording, stack: str) -> Iterator[str]:
    """Yield what every rule says of every resource."""
    for each in recording.resources:
        resource = rules.Resource(
            type=each.type,
            name=each.name,
            props=pulumi_recorder.reveal(each.inputs),
            protect=each.protect,
            is_production=stack == "hetzner",
        )
        for name, rule in rules.RULES.items():
            for message in rule(resource):
                yield f"{name}: {each.name}: {message}"


def record(stack: str) -> pulumi_recorder.Recording:
    """Record a checked-in stack as it is when it is brought up: image and addresses are set."""
    config = stack_files.read_config(ROOT / f"Pulumi.{stack}.yaml")
    if stack == "hetzner":
        config |= {"bex:operatorImage": f"registry.example/bex@{DIGEST}"}
        config |= {"bex:adminAddresses": '["198.51.100.7/32"]'}
    if stack == "local":
        config |= {"bex:workersMin": "1", "bex:workersMax": "3"}
    # At Hetzner an `up` would ask for a token; a preview knows everything that rules ask for.
    preview = stack == "hetzner"
    return pulumi_recorder.record(program.deploy, stack=stack, config=config, preview=preview)


@pytest.mark.parametrize("stack", ["embedded", "local", "hetzner"])
@pytest.mark.usefixtures("locked")
def test_stack_breaks_no_rule(stack: str) -> None:
    """As it is checked in, with its pins locked, its autoscaler and the operator's image set."""
    recording = record(stack)

    assert len(recording.resources) > 20
    assert list(violations(recording, stack)) == []


def pod(**container: Any) -> dict[str, Any]:
    """A Deployment with one container."""
    limits = {"cpu": "1", "memory": "1Gi"}
    made = {
        "name": "web",
        "image": f"web@{DIGEST}",
        "resources": {"limits": limits},
        **container,
    }
    return {"metadata": {"namespace": "x"}, "spec": {"template": {"spec": {"containers": [made]}}}}


def firewall(port: str, sources: list[str]) -> dict[str, Any]:
    """A firewall with one rule."""
    rule = {"direction": "in", "protocol": "tcp", "port": port, "sourceIps": sources}
    return {"rules": [rule]}


def pod_with(**spec: Any) -> dict[str, Any]:
    """A Deployment whose pods have something."""
    made = pod()
    made["spec"]["template"]["spec"] |= spec
    return made


FIREWALL = "hcloud:index/firewall:Firewall"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
RELEASE = "kubernetes:helm.sh/v3:Release"
ROLE = "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole"
BROKEN: list[tuple[str, str, dict[str, Any], str]] = [
    ("no-open-admin-ports", FIREWALL, firewall("22", OPEN), "port 22 is open to 0.0.0.0/0"),
    ("no-open-admin-ports", FIREWALL, firewall("6000-7000", ["::/0"]), "port 6443 is open"),
    ("no-open-admin-ports", FIREWALL, firewall("any", OPEN), "port 22 is open"),
    (
        "no-open-admin-ports",
        "hcloud:index/loadBalancerService:LoadBalancerService",
        {"listenPort": 6443},
        "listenPort 6443",
    ),
    (
        "no-open-admin-ports",
        "docker:index/container:Container",
        {"ports": [{"internal": 6443, "external": 6443}]},
        "published on all addresses",
    ),
    (
        "protected-at-hetzner",
        "hcloud:index/loadBalancer:LoadBalancer",
        {"deleteProtection": True},
        "protect is not set",
    ),
    ("protected-at-hetzner", "hcloud:index/volume:Volume", {}, "deleteProtection must be true"),
    (
        "no-privileged-pods",
        DEPLOYMENT,
        pod(securityContext={"privileged": True}),
        "containers.web is privileged",
    ),
    (
        "no-privileged-pods",
        DEPLOYMENT,
        pod(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}),
        "adds capabilities SYS_ADMIN",
    ),
    ("no-privileged-pods", DEPLOYMENT, pod_with(hostNetwork=True), "pod has hostNetwork"),
    (
        "no-privileged-pods",
        DEPLOYMENT,
        pod_with(volumes=[{"name": "root", "hostPath": {"path": "/"}}]),
        "volume root is a folder of the machine",
    ),
    (
        "no-privileged-pods",
        "kubernetes:core/v1:Namespace",
        {"metadata": {"name": "x", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}},
        "namespace x lets privileged pods in",
    ),
    (
        "no-privileged-pods",
        RELEASE,
        {"name": "x", "values": {"a": [{"securityContext": {"privileged": True}}]}},
        "values.a[0].securityContext.privileged is true",
    ),
    (
        "limits-everywhere",
        DEPLOYMENT,
        pod(resources={"limits": {"memory": "1Gi"}}),
        "containers.web has no limit of cpu",
    ),
    (
        "limits-everywhere",
        "kubernetes:batch/v1:CronJob",
        {"spec": {"jobTemplate": {"spec": pod(resources={})["spec"]}}},
        "no limit of cpu and memory",
    ),
    ("images-by-digest", DEPLOYMENT, pod(image="web:1"), "web:1 is not named by digest"),
    ("no-latest", DEPLOYMENT, pod(image="web"), "web is whatever is newest"),
    ("no-latest", DEPLOYMENT, pod(image="h:5000/web"), "h:5000/web is whatever is newest"),
    ("no-latest", DEPLOYMENT, pod(image="web:latest"), "web:latest is whatever"),
    (
        "no-latest",
        "docker:index/remoteImage:RemoteImage",
        {"name": "docker.io/library/web"},
        "is whatever is newest",
    ),
    ("no-latest", RELEASE, {"values": {"image": {"tag": "latest"}}}, "values.image.tag is latest"),
    (
        "no-wildcard-rights",
        ROLE,
        {"rules": [{"apiGroups": [""], "resources": ["*"], "verbs": ["get"]}]},
        "rules[0].resources is *",
    ),
    (
        "no-wildcard-rights",
        "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding",
        {"roleRef": {"name": "cluster-admin"}},
        "it binds cluster-admin",
    ),
]


@pytest.mark.parametrize(("name", "kind", "props", "said"), BROKEN)
def test_rule_is_broken_by_what_it_forbids(
    name: str, kind: str, props: dict[str, Any], said: str
) -> None:
    """It says where and why; the other rules say nothing of it but what is theirs."""
    resource = rules.Resource(kind, "it", props, is_production=True)
    found = list(rules.RULES[name](resource))

    assert any(said in each for each in found), found


def test_every_rule_is_broken_once() -> None:
    """A rule that nothing breaks would be none."""
    assert {name for name, *_rest in BROKEN} == set(rules.RULES)


@pytest.mark.parametrize(
    ("kind", "props"),
    [
        (FIREWALL, firewall("22", ["198.51.100.7/32"])),
        (FIREWALL, firewall("80-443", OPEN)),
        (DEPLOYMENT, pod(securityContext={"capabilities": {"add": ["NET_BIND_SERVICE"]}})),
        ("kubernetes:core/v1:ConfigMap", {"data": {"image": "x:latest"}}),
    ],
    ids=["listed", "the edge's ports", "a low port", "a text"],
)
def test_what_is_allowed_breaks_nothing(kind: str, props: dict[str, Any]) -> None:
    """Rules that cry wolf are switched off."""
    resource = rules.Resource(kind, "it", props, is_production=True)

    assert [each for rule in rules.RULES.values() for each in rule(resource)] == []


def test_tag_is_good_enough_outside_production() -> None:
    """On one's own machine an image is built and run by its tag."""
    resource = rules.Resource(DEPLOYMENT, "it", pod(image="localhost:5050/web:1"))

    assert list(rules.images_by_digest(resource)) == []
