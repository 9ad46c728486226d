"""What each component registers, and that none forgets its children or its end."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

import components
from components import (
    app_cluster,
    app_operator,
    app_set,
    autoscaler,
    edge,
    hetzner_infra,
    infra_cluster,
    objects,
    operator_image,
    pins,
    registry,
    traefik,
)
from components.dynamic import clusterctl
from components.manifests import capd, charts, cluster_api, issuers
from tests.support import pulumi_recorder

SIGNER = "-----BEGIN PUBLIC KEY-----"
IMAGE = "registry.example/image:1@sha256:0"
HTPASSWD = "u:h"


def clusters() -> tuple[pulumi.ProviderResource, pulumi.ProviderResource]:
    """Make the providers of both clusters."""
    return (
        objects.provider("infra", "kubeconfig: infra", pulumi.ResourceOptions()),
        objects.provider("apps", "kubeconfig: apps", pulumi.ResourceOptions()),
    )


def overlay() -> list[dict[str, Any]]:
    """Render the overlay of a cluster of containers."""
    networks = ("10.244.0.0/16", "10.96.0.0/16")
    cluster = cluster_api.Cluster("bex", pins.KUBERNETES, *networks, 1, capd.CLUSTER_KIND)
    return capd.render(capd.Overlay(cluster, IMAGE, IMAGE, registry.MACHINE_URL, None, 2))


def make_app_cluster() -> object:
    """Make an app cluster with one chart and one Secret."""
    infra, _ = clusters()
    args = app_cluster.AppClusterArgs(
        name="bex",
        infra_kubeconfig="kubeconfig: infra",
        infra=infra,
        overlay=overlay(),
        secrets=[{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}}],
        charts=[charts.metrics_server({})],
        storage=[{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "storage"}}],
        folder="pins",
        load_balancer="bex-lb",
        kubeconfig_file="infra/bex.kubeconfig",
    )
    return app_cluster.AppCluster("it", args)


def make_autoscaler() -> object:
    """Make an autoscaler for both clusters."""
    args = autoscaler.AutoscalerArgs("bex", IMAGE, IMAGE, "kube-system", *clusters())
    return autoscaler.Autoscaler("it", args)


def make_traefik() -> object:
    """Make an edge with a local authority."""
    args = traefik.TraefikArgs(
        charts.traefik_on_host(),
        charts.cert_manager({}),
        issuers.local_authority(["localhost"]),
        "pins",
    )
    return traefik.Traefik("it", args)


MAKERS: dict[str, Callable[[], object]] = {
    "AppCluster": make_app_cluster,
    "AppOperator": lambda: app_operator.AppOperator("it", app_operator.AppOperatorArgs()),
    "AppSet": lambda: app_set.AppSet("it", app_set.AppSetArgs([], "bex-apps")),
    "Autoscaler": make_autoscaler,
    "ClusterRegistry": lambda: registry.ClusterRegistry(
        "it", registry.RegistryArgs(IMAGE, pulumi.Output.secret(HTPASSWD), SIGNER)
    ),
    "Edge": lambda: edge.Edge("it"),
    "EdgeBalancer": lambda: hetzner_infra.EdgeBalancer(
        "it", hetzner_infra.EdgeBalancerArgs("test", "bex", "fsn1", "lb11", "10.0.0.1")
    ),
    "Forwarder": lambda: traefik.Forwarder(
        "it", traefik.ForwarderArgs(IMAGE, "172.18.0.2", 8080, 8443)
    ),
    "HetznerInfra": lambda: hetzner_infra.HetznerInfra(
        "it",
        hetzner_infra.HetznerInfraArgs(
            stack="test",
            cluster_name="bex",
            location="fsn1",
            network_zone="eu-central",
            server_type="cx23",
            ssh_public_key="ssh-ed25519 AAAA me",
            ssh_private_key_file="~/.ssh/id",
            admin_addresses=["198.51.100.7/32"],
            k3s_sha256="ab" * 32,
            known_hosts="infra/known_hosts",
        ),
    ),
    "InfraCluster": lambda: infra_cluster.InfraCluster(
        "it",
        infra_cluster.InfraClusterArgs("kubeconfig: x", infra_cluster.PROVIDERS["capd"], "pins"),
    ),
    "KindCluster": lambda: infra_cluster.KindCluster("it", infra_cluster.KindClusterArgs(IMAGE)),
    "LocalRegistry": lambda: registry.LocalRegistry(
        "it", registry.RegistryArgs(IMAGE, pulumi.Output.secret(HTPASSWD), SIGNER, port=5050)
    ),
    "OperatorImage": lambda: operator_image.OperatorImage(
        "it", operator_image.OperatorImageArgs(".", "localhost:5050", "p", IMAGE, IMAGE)
    ),
    "Traefik": make_traefik,
}


def component_classes() -> dict[str, type[pulumi.ComponentResource]]:
    """Find every component of the package."""
    return {
        name: value
        for module in pkgutil.walk_packages(components.__path__, "components.")
        for name, value in vars(importlib.import_module(module.name)).items()
        if isinstance(value, type) and issubclass(value, pulumi.ComponentResource)
    }


@pytest.fixture(scope="module", params=sorted(MAKERS))
def made(request: pytest.FixtureRequest) -> tuple[str, pulumi_recorder.Recording]:
    """Record one component after another, by name."""
    return request.param, pulumi_recorder.record(MAKERS[request.param])


def test_every_component_is_recorded_here() -> None:
    """A new one gets a line above, and with it every check below."""
    assert sorted(component_classes()) == sorted(MAKERS)


def test_children_have_the_component_as_their_parent(
    made: tuple[str, pulumi_recorder.Recording],
) -> None:
    """Nothing real stands beside its component: only providers of a test do."""
    _, recording = made
    component = recording.named("it")

    strays = [
        each.urn
        for each in recording.resources
        if component.urn not in (each.parent, each.urn)
        and each.name not in ("infra", "apps", "bex-test")
    ]
    assert strays == []


def test_component_registers_its_outputs(made: tuple[str, pulumi_recorder.Recording]) -> None:
    """Without that, Pulumi never knows that a component is complete."""
    _, recording = made

    assert recording.named("it").urn in recording.outputs


def test_constructor_is_short(made: tuple[str, pulumi_recorder.Recording]) -> None:
    """What a component is made of can be read at once."""
    name, _ = made
    lines, _start = inspect.getsourcelines(component_classes()[name].__init__)

    assert len(lines) <= 60


def test_nothing_secret_is_registered_in_clear(
    made: tuple[str, pulumi_recorder.Recording],
) -> None:
    """Kubeconfigs and passwords are marked wherever they are inputs."""
    _, recording = made
    secret_keys = {"kubeconfig", "infra_kubeconfig", "password"}

    found = [
        (each.name, key)
        for each in recording.resources
        for key, value in each.inputs.items()
        if key in secret_keys and value is not None and not pulumi_recorder.is_secret(value)
        if not (each.type == "pulumi:providers:kubernetes" and each.name in ("infra", "apps"))
    ]
    assert found == []


def test_app_cluster_describes_itself_on_the_infra_cluster_and_lives_in_its_own() -> None:
    """Cluster API's objects go to one cluster, charts and storage to the other."""
    recording = pulumi_recorder.record(make_app_cluster)
    by_provider: dict[str, set[str]] = {}
    for each in recording.resources:
        if each.type.startswith("kubernetes:"):
            provider = each.provider.rpartition("::")[0].rpartition("::")[2]
            by_provider.setdefault(provider, set()).add(each.type.split(":")[-1])

    assert by_provider["it"] == {"Release", "Namespace"}
    assert {"Cluster", "KubeadmControlPlane", "MachineDeployment", "Secret"} <= by_provider["infra"]


def test_cluster_api_keeps_the_order_of_what_goes() -> None:
    """In the foreground, Pulumi's own way, infrastructure went first and machines never."""
    recording = pulumi_recorder.record(make_app_cluster)
    policies = {
        each.inputs["metadata"]["annotations"]["pulumi.com/deletionPropagationPolicy"]
        for each in recording.resources
        if "cluster.x-k8s.io" in each.type
    }

    assert policies == {"background"}


def test_kubeconfig_of_the_app_cluster_comes_after_its_objects() -> None:
    """It is waited for only once there is something that makes it."""
    recording = pulumi_recorder.record(make_app_cluster)
    described = {
        each.urn for each in recording.resources if "infra" in each.provider and each.is_custom
    }

    assert described <= set(recording.named("it-kubeconfig").dependencies)


def test_ports_of_the_infra_server_are_open_to_administrators_only() -> None:
    """22 and 6443 have the listed addresses as their only sources; the rest is ICMP."""
    recording = pulumi_recorder.record(MAKERS["HetznerInfra"])
    firewalls = recording.of_type("hcloud:index/firewall:Firewall")
    rules = [rule for firewall in firewalls for rule in firewall.inputs["rules"]]

    assert {rule["port"] for rule in rules if rule["protocol"] == "tcp"} == {"22", "6443"}
    assert all(r["sourceIps"] == ["198.51.100.7/32"] for r in rules if r["protocol"] == "tcp")


def test_everything_at_hetzner_carries_the_stack_label() -> None:
    """By it the audit finds what a destroy left."""
    recordings = [pulumi_recorder.record(MAKERS[name]) for name in ("HetznerInfra", "EdgeBalancer")]
    labelled = {
        each.type: each.inputs["labels"]
        for recording in recordings
        for each in recording.resources
        if "labels" in each.inputs
    }

    assert len(labelled) >= 6
    assert all(labels == {"bex-stack": "test"} for labels in labelled.values())


def test_load_balancer_of_the_edge_is_protected_twice() -> None:
    """Its address is in people's DNS: neither Pulumi nor Hetzner deletes it by mistake."""
    recording = pulumi_recorder.record(MAKERS["EdgeBalancer"])
    (balancer,) = recording.of_type("hcloud:index/loadBalancer:LoadBalancer")

    assert balancer.protect
    assert balancer.inputs["deleteProtection"] is True


def test_cluster_api_is_not_installed_where_it_is_already() -> None:
    """An existing infra cluster gets nothing but objects."""
    args = infra_cluster.InfraClusterArgs("kubeconfig: x", (), "pins")
    recording = pulumi_recorder.record(lambda: infra_cluster.InfraCluster("it", args))

    assert recording.of_type("pulumi-python:dynamic/bex:ClusterApi") == []


def test_clusterctl_is_configured_with_files_only(tmp_path: Any) -> None:
    """Each provider comes from the folder of pinned files; no address of a network is in it."""
    config = clusterctl.configuration(tmp_path, infra_cluster.PROVIDERS["caph"])

    urls = [each["url"] for each in config["providers"]] + [config["cert-manager"]["url"]]
    assert len(urls) == 5
    assert all(url.startswith(f"{tmp_path}/") for url in urls)
