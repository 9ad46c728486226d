"""The embedded cluster at work: machines, pods, names, Services, and what is kept apart."""

import subprocess
from collections.abc import Iterator

import pytest

from bex_operator.kube import errors, kinds
from bex_stack.embedded import cluster, machines, services
from tests.support import embedded as support


@pytest.fixture(scope="module")
def hello(embedded: support.Embedded) -> Iterator[list[dict]]:
    """Two pods behind a Service, one on each worker."""
    with embedded.namespace("test-cluster") as namespace:
        deployment = support.deployment(namespace, replicas=2, **support.SPREAD)
        embedded.apply(deployment, support.service(namespace))
        support.wait_until(lambda: len(embedded.ready_pods(namespace)) == 2, "two pods are Ready")
        yield embedded.ready_pods(namespace)


def test_nodes_are_ready_with_their_roles(embedded: support.Embedded) -> None:
    """Every machine is a Ready node, and only the control plane's refuses pods."""
    nodes = embedded.ask(lambda api: api.list(kinds.NODE)).items
    names = {node["metadata"]["name"] for node in nodes}
    support.wait_until(lambda: all(map(embedded.is_node_ready, names)), "every node is Ready")
    # The taint of a node that is not ready yet comes and goes by itself, a little after its cause.
    taint = "node-role.kubernetes.io/control-plane"
    refusing = {
        node["metadata"]["name"]
        for node in nodes
        if taint in {given["key"] for given in node["spec"].get("taints", [])}
    }

    assert names == {"control-plane", "worker-1", "worker-2"}
    assert refusing == {"control-plane"}


def test_pods_answer_the_host(hello: list[dict]) -> None:
    """The host reaches every pod by its address."""
    answers = [support.fetch(f"http://{pod['status']['podIP']}:8080/") for pod in hello]

    assert all(
        pod["metadata"]["name"] in answer for pod, answer in zip(hello, answers, strict=True)
    )


def test_pods_answer_pods_of_other_machines(embedded: support.Embedded, hello: list[dict]) -> None:
    """A pod reaches a pod on another machine by its address."""
    one, other = hello
    url = f"http://{other['status']['podIP']}:8080/"

    assert one["spec"]["nodeName"] != other["spec"]["nodeName"]
    assert other["metadata"]["name"] in embedded.run_in_pod(
        one["metadata"]["name"], support.fetching(url)
    )


def test_services_have_names_and_answer(embedded: support.Embedded, hello: list[dict]) -> None:
    """A pod resolves a Service's name and gets an answer from its address, also from itself."""
    pod = hello[0]["metadata"]["name"]
    name = f"hello.{hello[0]['metadata']['namespace']}.svc.cluster.local"
    answers: set[str] = set()

    def has_two_answers() -> bool:
        # The name server and the machines' proxies learn of a Service a moment after the API does.
        address = embedded.run_in_pod(pod, support.resolving(name, "10.96.0.10"))
        answers.add(
            embedded.run_in_pod(pod, support.fetching(f"http://{address}/")).splitlines()[0]
        )
        return len(answers) == 2

    support.wait_until(has_two_answers, "the Service's name leads to both pods")
    assert answers == {f"Hello from {pod['metadata']['name']}" for pod in hello}


def test_pods_reach_the_api_server(embedded: support.Embedded, hello: list[dict]) -> None:
    """The `kubernetes` Service leads to the API server."""
    code = support.connecting("10.96.0.1", 443)

    assert embedded.run_in_pod(hello[0]["metadata"]["name"], code) == "open"


def test_pods_do_not_reach_etcd_or_other_host_ports(
    embedded: support.Embedded, hello: list[dict]
) -> None:
    """The host takes API and name requests from pods and nothing else."""
    pod, host = hello[0]["metadata"]["name"], embedded.instance.bridge_address
    offered = embedded.run_in_pod(pod, support.connecting(host, 6443, 53))
    # Packets are dropped: no answer ever comes, however long one waits.
    hidden = support.connecting(host, 2379, 2380, 10257, 10259, seconds=2)

    assert offered.split() == ["open"] * 2
    assert embedded.run_in_pod(pod, hidden).split() == ["closed"] * 4


def test_machines_reach_the_registry_and_pods_do_not(
    embedded: support.Embedded, hello: list[dict]
) -> None:
    """It takes pushes from whoever reaches it: a pod could change what others run."""
    where = embedded.instance.bridge_address, embedded.instance.registry_port
    hidden = support.connecting(*where, seconds=2)

    assert embedded.run_in_machine("worker-1", support.connecting(*where)) == "open"
    assert embedded.run_in_pod(hello[0]["metadata"]["name"], hidden) == "closed"


def test_logs_reach_through_the_kubelet(embedded: support.Embedded, hello: list[dict]) -> None:
    """The API server fetches a pod's log from its machine."""
    meta = hello[0]["metadata"]
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log"

    support.wait_until(
        lambda: "listening" in str(embedded.ask(lambda api: api.request("GET", path))),
        "the log has the pod's first line",
    )


def test_secrets_are_encrypted_in_etcd(embedded: support.Embedded) -> None:
    """What etcd holds of a Secret does not contain its value."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "sealed", "namespace": "default"},
        "stringData": {"password": "find-me-if-you-can"},
    }
    embedded.apply(secret)
    files = [path for path in (embedded.instance.dir / "etcd").rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)

    assert b"k8s:enc:secretbox:v1:key1" in content
    assert b"find-me-if-you-can" not in content
    assert b"kubernetes.default.svc" in content or b"/registry/" in content


def test_a_node_reads_only_what_its_pods_need(embedded: support.Embedded) -> None:
    """A machine's certificate does not open Secrets that none of its pods mounts."""
    kubeconfig = embedded.instance.machine_dir("worker-1") / "kubernetes" / "kubelet.kubeconfig"

    with pytest.raises(errors.Forbidden):
        embedded.ask(lambda api: api.list(kinds.SECRET, "default"), kubeconfig)
    with pytest.raises(errors.Forbidden):
        embedded.ask(
            lambda api: api.patch(kinds.NODE, "worker-2", None, {"spec": {"unschedulable": True}}),
            kubeconfig,
        )


def test_a_machine_does_not_see_the_hosts_keys(embedded: support.Embedded) -> None:
    """Inside a machine neither the instance's folder nor the administrator's kubeconfig exists."""
    pid = machines.init_pid(embedded.instance, "worker-1")
    command = ["nsenter", f"--target={pid}", "--mount", "--pid", "ls", "/root", "/var/lib"]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    probe = ["nsenter", f"--target={pid}", "--mount", "test", "-e", str(embedded.instance.dir)]

    assert seen.split() == ["/root:", "/var/lib:", "cni", "containerd", "kubelet"]
    assert subprocess.run(probe, timeout=60, check=False).returncode == 1


def test_keys_are_private(embedded: support.Embedded) -> None:
    """No file with a key is readable by another user, nor any folder on the way."""
    folder = embedded.instance.dir
    keys = [
        path
        for pattern in ("*.key", "*kubeconfig", "encryption.yaml")
        for path in folder.rglob(pattern)
        if path.is_file()
    ]

    assert len(keys) > 15
    assert {oct(path.stat().st_mode & 0o777) for path in keys} == {"0o600"}
    assert oct(folder.stat().st_mode & 0o777) == "0o700"


def test_a_second_ensure_changes_nothing(embedded: support.Embedded) -> None:
    """What runs is what would be started: nothing is restarted."""
    instance, programs = embedded.instance, embedded.tools.paths
    names = [machine.name for machine in support.MACHINES]
    support.wait_until(lambda: all(map(embedded.is_node_ready, names)), "every node is Ready")
    settled = [machines.is_settled(instance, machine, programs) for machine in support.MACHINES]

    assert settled == [True] * 3
    assert cluster.is_settled(instance, programs)
    assert services.is_dns_settled(instance, programs)


def test_pods_are_packed(embedded: support.Embedded) -> None:
    """Replicas without wishes go to one machine until it is full."""
    with embedded.namespace("test-packing") as namespace:
        embedded.apply(support.deployment(namespace, replicas=4, cpu="100m"))
        support.wait_until(lambda: len(embedded.ready_pods(namespace)) == 4, "four pods are Ready")
        taken = {pod["spec"]["nodeName"] for pod in embedded.ready_pods(namespace)}

    assert len(taken) == 1
