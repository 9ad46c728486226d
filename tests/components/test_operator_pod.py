"""The operator's Deployment: the same for every substrate, and no more privilege than it needs."""

from typing import Any

import pytest

from bex_operator import __main__ as entries
from bex_operator.controllers import operator_settings
from components.manifests import operator, operator_pod

IMAGE = "localhost:5050/bex/operator@sha256:" + "0" * 64
POD = operator_pod.Pod(IMAGE, options={"base-domain": "example.com"})


def deployment(pod: operator_pod.Pod = POD) -> dict[str, Any]:
    """The Deployment of *pod*."""
    (found,) = [each for each in operator_pod.render(pod) if each["kind"] == "Deployment"]
    return found


def container(pod: operator_pod.Pod = POD) -> dict[str, Any]:
    """Its one container."""
    (found,) = deployment(pod)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_only_the_image_differs_between_substrates() -> None:
    """With the image replaced, two renderings are the same."""
    other = operator_pod.Pod("ghcr.io/bex/operator@sha256:1", options=POD.options)

    replaced = str(operator_pod.render(other)).replace(other.image, IMAGE)

    assert replaced == str(operator_pod.render(POD))


def test_pods_are_what_the_restricted_standard_asks_for() -> None:
    """No root, no privilege, no writable disk; the namespace enforces it, too."""
    spec = deployment()["spec"]["template"]["spec"]
    (system, *_) = [each for each in operator.render() if each["kind"] == "Namespace"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert system["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_variable_is_one_the_operator_reads() -> None:
    """A misspelt setting would be ignored in silence."""
    known = {
        option.variable or f"BEX_{option.name.upper().replace('-', '_')}"
        for option in operator_settings.OPTIONS
    }

    assert set(operator_pod.environment(POD)) <= known
    assert container()["args"][0] in entries.ENTRIES


def test_every_replica_has_a_machine_of_its_own() -> None:
    """Two on one machine would go with it together; a single one may go anywhere."""
    (apart,) = deployment()["spec"]["template"]["spec"]["topologySpreadConstraints"]

    assert (apart["maxSkew"], apart["minDomains"], apart["whenUnsatisfiable"]) == (
        1,
        POD.replicas,
        "DoNotSchedule",
    )


def test_git_servers_reach_the_operator_where_a_host_is_given() -> None:
    """Through the edge, on a port of its own that nothing else answers at."""
    pod = operator_pod.Pod(IMAGE, webhook_host="hooks.example.com")
    made = {each["kind"]: each for each in operator_pod.render(pod)}
    (port,) = made["Service"]["spec"]["ports"]
    (rule,) = made["Ingress"]["spec"]["rules"]

    assert {each["kind"] for each in operator_pod.render(POD)}.isdisjoint({"Service", "Ingress"})
    assert str(port["targetPort"]) == operator_pod.environment(pod)["BEX_WEBHOOK_PORT"]
    assert (
        made["Service"]["spec"]["selector"] == made["Deployment"]["spec"]["selector"]["matchLabels"]
    )
    assert (rule["host"], rule["http"]["paths"][0]["path"]) == ("hooks.example.com", "/hooks/")


def test_a_pod_may_always_be_evicted() -> None:
    """A budget that holds back the last pod would hold back every drain of its machine."""
    (budget,) = [each for each in operator_pod.render(POD) if each["kind"] != "Deployment"]

    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"] == deployment()["spec"]["selector"]


@pytest.mark.parametrize("selector", [{}, operator_pod.ON_CONTROL_PLANE], ids=["any", "control"])
def test_control_plane_machines_are_allowed(selector: dict[str, str]) -> None:
    """It may run there, and nowhere else if the stack says so."""
    pod = operator_pod.Pod(IMAGE, node_selector=selector)

    spec = deployment(pod)["spec"]["template"]["spec"]
    assert operator_pod.TOLERATES_CONTROL_PLANE in spec["tolerations"]
    assert spec["nodeSelector"] == selector


def test_secrets_are_mounted_where_options_name_them() -> None:
    """Only for the operator to read; without any nothing is mounted."""
    pod = operator_pod.Pod(IMAGE, mounts=[operator_pod.Mount("bex-registry", "/etc/bex/registry")])
    spec = deployment(pod)["spec"]["template"]["spec"]
    (mount,) = container(pod)["volumeMounts"]

    assert mount == {"name": "registry", "mountPath": "/etc/bex/registry", "readOnly": True}
    assert spec["volumes"] == [
        {"name": "registry", "secret": {"secretName": "bex-registry", "defaultMode": 0o440}}
    ]
    assert container()["volumeMounts"] == []
