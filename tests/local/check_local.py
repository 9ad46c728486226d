"""The stack `local` for real: machines in Docker containers, made by Cluster API.

Not part of the suite: `make test-local`. It needs Linux, root and package registries; no image
registry and no Pulumi CLI. `stack.py` says what stands in for what comes from image registries.
"""

import urllib.request
from collections.abc import Iterator

import pytest

from bex_operator import api
from components.manifests import operator_pod
from tests.local import docker_engine, machines, stack, traces
from tests.support import waiting

pytestmark = pytest.mark.timeout(3 * stack.UP_SECONDS)
ANSWER_SECONDS = 10


@pytest.fixture(scope="module")
def local() -> Iterator[stack.Local]:
    """The stack, up; nothing of it is left afterwards but Debian's packages."""
    docker_engine.install()
    before = traces.found()
    with stack.running() as made:
        yield made
    assert traces.found() - before == set()


@pytest.fixture(scope="module")
def hello(local: stack.Local) -> str:
    """Where this host reaches the app."""
    return _door(local, "hello")


def test_machines_are_those_that_the_program_describes(local: stack.Local) -> None:
    """One control plane and two workers: containers, nodes of the wanted version, all ready."""
    workers = local.wait_for_workers(lambda ready: len(ready) == 2, "two workers are ready")
    nodes = local.nodes()

    assert len(nodes) == 3
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes} == {local.version}
    containers = set(local.engine.everything()["containers"])
    assert workers | {machines.name(node) for node in nodes} <= containers


def test_control_plane_becomes_available(local: stack.Local) -> None:
    """Cluster API reaches etcd through the kubelet's own certificate, once it is approved."""

    def is_available() -> bool:
        local.approve()
        (cluster,) = local.listed("clusters.cluster.x-k8s.io", "--namespace=bex-capi", infra=True)
        conditions = cluster["status"]["conditions"]
        return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)

    waiting.wait_until(is_available, "the Cluster is Available", stack.UP_SECONDS)


def test_operator_runs_on_the_control_plane(local: stack.Local) -> None:
    """A scale-down never takes the machine it is pinned to."""
    (leader,) = [machines.name(node) for node in local.nodes() if machines.is_control_plane(node)]
    pods = local.pods(api.SYSTEM_NAMESPACE, f"app.kubernetes.io/name={operator_pod.NAME}")

    assert machines.places(pods) == [leader]


def test_hello_answers(local: stack.Local, hello: str) -> None:
    """Both replicas run on workers; a request from outside the cluster comes to one of them."""
    _wait_for_answer(hello)
    assert len(_hello_places(local)) == 2
    assert set(_hello_places(local)) <= machines.ready_workers(local.nodes())


def test_app_of_a_public_image_runs_from_the_mirror(local: stack.Local) -> None:
    """Machines take docker.io's names from there: there is no internet, and the name stays."""
    door = _door(local, "whoami")

    _wait_for_answer(door, by="whoami")
    (pod,) = local.pods(api.NAMESPACE, "app.bex.co/app=whoami")
    assert pod["spec"]["containers"][0]["image"].startswith("traefik/whoami")


def test_second_up_changes_nothing(local: stack.Local) -> None:
    """What Cluster API writes into its objects is no difference."""
    local.bex("preview", "--expect-no-changes")


def test_pods_move_off_machines_that_go_and_use_those_that_come(
    local: stack.Local, hello: str
) -> None:
    """A third worker comes; those with the app's pods go, drained; the app goes on answering."""
    local.set_workers(3)
    local.wait_for_workers(lambda ready: len(ready) == 3, "a third worker is ready")
    left = set(_hello_places(local))
    for machine in left:  # the ones that Cluster API is to take first
        local.kubectl(
            *("annotate", "machines.cluster.x-k8s.io", machine, "--namespace=bex-capi"),
            "cluster.x-k8s.io/delete-machine=yes",
            infra=True,
        )
    local.set_workers(3 - len(left))
    kept = local.wait_for_workers(
        lambda ready: len(ready) == 3 - len(left) and not ready & left, "the others are left"
    )

    waiting.wait_until(
        lambda: len(_hello_places(local)) == 2 and set(_hello_places(local)) <= kept,
        "both pods run there",
        stack.UP_SECONDS,
    )
    _wait_for_answer(hello)


def test_lost_machine_comes_back(local: stack.Local, hello: str) -> None:
    """Its container is removed behind everybody's back; the health check makes another."""
    local.set_workers(2)
    before = local.wait_for_workers(lambda ready: len(ready) == 2, "two workers are ready")
    lost = _hello_places(local)[0]
    local.engine.docker("rm", "--force", "--volumes", lost)
    after = local.wait_for_workers(
        lambda ready: len(ready) == 2 and lost not in ready, "another machine is ready"
    )

    assert after - before
    waiting.wait_until(
        lambda: len(_hello_places(local)) == 2 and lost not in _hello_places(local),
        "both pods run elsewhere",
        stack.UP_SECONDS,
    )
    _wait_for_answer(hello)


def _hello_places(local: stack.Local) -> list[str]:
    return machines.places(local.pods(api.NAMESPACE, "app.bex.co/app=hello"))


def _door(local: stack.Local, app: str) -> str:
    """Open a port of the control plane's, which runs none of the app's pods.

    An edge of the user's stands there: the program brings none with `platform: none`.
    """
    namespace, name = f"--namespace={api.NAMESPACE}", f"{app}-door"
    local.kubectl("expose", "service", app, f"--name={name}", "--type=NodePort", namespace)
    (door,) = local.listed("services", namespace, f"--field-selector=metadata.name={name}")
    (leader,) = [node for node in local.nodes() if machines.is_control_plane(node)]
    return f"http://{machines.address(leader)}:{door['spec']['ports'][0]['nodePort']}/"


def _wait_for_answer(url: str, by: str = "hello") -> None:
    def answers() -> bool:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - a machine's
            return f"Hello from {by}-" in answer.read().decode()

    waiting.wait_until(answers, f"{by} answers at {url}")
