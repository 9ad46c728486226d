"""What pods of builds reach where the network honours policies: judged as the Kubernetes API says.

No such network runs here. So a real API server takes the policies, and the rules are evaluated by
the words of the API (networking.k8s.io/v1) for the pods that are really rendered.
"""

import ipaddress
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from bex_operator.api import names
from bex_operator.kube import client
from bex_operator.plan import artefacts, build_jobs
from components.manifests import builds, caph, cluster_builds, zot
from tests.support.api_server import ApiServer

Manifest = dict[str, Any]
KIND_NETWORK_REGISTRY = "172.18.0.9"
REPOSITORY = artefacts.Repository("https://git.example/a", "main", "", "", "", "auto", "")
ORDER = build_jobs.Order("web-1", "web", "apps", "uid-1", REPOSITORY, "c" * 40, "main")
PLATFORM = build_jobs.Platform(
    names.BUILD_NAMESPACE, "b@sha256:1", build_jobs.Registry("zot:5001", "localhost:5050")
)
QUESTION = build_jobs.Question("ssh://git@git.example/a", "apps", {})


def policies() -> list[Manifest]:
    """All that speak of builds: everywhere's, and those of a stack with inner addresses."""
    everywhere = [each for each in builds.render([]) if each["kind"] == "NetworkPolicy"]
    reached = [(f"{KIND_NETWORK_REGISTRY}/32", zot.BUILDS_PORT), ("10.0.7.5/32", 22)]
    return [*everywhere, cluster_builds.network_policy(reached)]


def pods() -> list[Manifest]:
    """The pod templates of a build and of a question, with their namespace."""
    jobs = [
        build_jobs.render(ORDER, PLATFORM),
        build_jobs.render_question(QUESTION, ["main"], PLATFORM)[0],
    ]
    return [
        {"namespace": each["metadata"]["namespace"], **each["spec"]["template"]["metadata"]}
        for each in jobs
    ]


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches; an empty one matches everything."""
    assert selector is None or set(selector) <= {"matchLabels"}, "only these are evaluated here"
    wanted = (selector or {}).get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items())


def is_peer(peer: Manifest, target: Manifest) -> bool:
    """Whether a rule's peer is this address, or this pod in that namespace."""
    if block := peer.get("ipBlock"):
        # By the API, blocks of addresses are for what is no pod; networks may count pods, too.
        address = ipaddress.ip_address(target["address"])
        inside = address in ipaddress.ip_network(block["cidr"])
        return inside and not any(
            address in ipaddress.ip_network(each) for each in block.get("except", ())
        )
    if "pod" not in target or "namespaceSelector" not in peer:
        return False
    return selects(peer["namespaceSelector"], target["namespace"]) and selects(
        peer.get("podSelector"), target["pod"]
    )


def allows(pod: Manifest, target: Manifest, port: int, protocol: str = "TCP") -> bool:
    """Whether a pod may send there: some policy that selects it allows it, or none selects it."""
    found = [
        each["spec"]
        for each in policies()
        if each["metadata"]["namespace"] == pod["namespace"]
        and "Egress" in each["spec"]["policyTypes"]
        and selects(each["spec"]["podSelector"], pod["labels"])
    ]
    rules = [rule for each in found for rule in each.get("egress", ())]
    return not found or any(
        any(is_peer(peer, target) for peer in rule["to"])
        and ("ports" not in rule or {"port": port, "protocol": protocol} in rule["ports"])
        for rule in rules
    )


def pod_at(address: str, namespace: str, **labels: str) -> Manifest:
    """A pod with an address, as a target."""
    named = {key.replace("_", "-"): value for key, value in labels.items()}
    return {
        "address": address,
        "namespace": {"kubernetes.io/metadata.name": namespace},
        "pod": named,
    }


REFUSED = {
    "metadata of a cloud": ({"address": "169.254.169.254"}, 80),
    "a machine at Hetzner": ({"address": str(ipaddress.ip_network(caph.NETWORK)[7])}, 10250),
    "a machine in Docker": ({"address": "172.18.0.3"}, 6443),
    "the API server's service": ({"address": "10.96.0.1"}, 443),
    "a pod of an App": (pod_at("10.244.1.9", "bex-apps", app="web"), 8080),
    "the operator": (pod_at("10.244.1.10", names.SYSTEM_NAMESPACE), 8081),
    "another build": (pod_at("10.244.1.11", names.BUILD_NAMESPACE), 80),
    "the registry without tokens": (pod_at("10.244.2.2", zot.NAMESPACE), zot.PORT),
    "another port of names": (pod_at("10.244.0.2", "kube-system", k8s_app="kube-dns"), 9153),
    "who calls itself names": (pod_at("10.244.0.3", "bex-apps", app="kube-dns"), 53),
    "the container of machines": ({"address": KIND_NETWORK_REGISTRY}, zot.PORT),
    "an inner address at another port": ({"address": "10.0.7.5"}, 80),
    "this machine": ({"address": "127.0.0.1"}, 80),
    "an inner address of IPv6": ({"address": "fd00::1"}, 443),
    "a mapped one": ({"address": "64:ff9b::a9fe:a9fe"}, 80),
}
ALLOWED = {
    "git over https": ({"address": "140.82.121.4"}, 443),
    "git over ssh": ({"address": "140.82.121.4"}, 22),
    "git over IPv6": ({"address": "2606:50c0:8000::153"}, 443),
    "names": (pod_at("10.244.0.2", "kube-system", k8s_app="kube-dns"), 53),
    "the registry with a token": (pod_at("10.244.2.2", zot.NAMESPACE), zot.BUILDS_PORT),
    "the container for builds": ({"address": KIND_NETWORK_REGISTRY}, zot.BUILDS_PORT),
    "an inner address that the stack names": ({"address": "10.0.7.5"}, 22),
}


@pytest.mark.parametrize("where", REFUSED)
def test_pods_of_builds_do_not_reach(where: str) -> None:
    """Neither a build nor a question, by any policy."""
    target, port = REFUSED[where]

    assert [allows(pod, target, port) for pod in pods()] == [False, False]


@pytest.mark.parametrize("where", ALLOWED)
def test_pods_of_builds_reach(where: str) -> None:
    """What clones, pulls and pushes need."""
    target, port = ALLOWED[where]

    assert [allows(pod, target, port) for pod in pods()] == [True, True]
    assert allows(pods()[0], ALLOWED["names"][0], 53, "UDP")


def test_policies_speak_of_pods_of_builds_only() -> None:
    """Those of Apps are not selected, hence not confined by them."""
    app = {"namespace": "bex-apps", "labels": {}}

    assert allows(app, {"address": "10.96.0.1"}, 443)


@pytest.fixture
async def api(api_server: ApiServer) -> AsyncIterator[client.Client]:
    """A real API server."""
    async with client.Client.from_kubeconfig(api_server.kubeconfig) as made:
        yield made


async def test_api_server_takes_the_policies_as_they_are(api: client.Client) -> None:
    """Not a field is dropped or refused."""
    for policy in policies():
        here = {**policy, "metadata": {**policy["metadata"], "namespace": "default"}}
        taken = await api.apply(here, field_manager="test", dry_run=True)

        assert taken["spec"] == {"podSelector": {}, **policy["spec"]}
