"""What an App becomes, rendered as a whole."""

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from bex_operator import api
from bex_operator.api import status
from bex_operator.plan import differences, workload

OWNER = workload.Owner("web", "apps", "uid-1")
RELEASE = status.Release(number=3, digest="d")


def render(hosts: tuple[str, ...] = (), **fields: Any) -> workload.Workload:
    """Render an App with these fields."""
    app = api.App(**{"name": "web", "image": "a/b:1", **fields})
    return workload.render(app, OWNER, RELEASE, hosts)


def test_owner_is_read_from_the_app_object() -> None:
    """Its children name it by UID."""
    metadata = {"name": "web", "namespace": "apps", "uid": "uid-1", "generation": 1}

    assert workload.owner_of({"metadata": metadata}) == OWNER


def container(made: workload.Workload) -> dict[str, Any]:
    """The one container of the Deployment."""
    (found,) = made.deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_deployment_of_a_plain_app() -> None:
    """Every default that keeps an App safe and reachable is there."""
    probe = {"tcpSocket": {"port": "http"}, "timeoutSeconds": 5, "successThreshold": 1}

    spec = render(port=8080).deployment["spec"]

    assert spec == {
        "replicas": 1,
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 900,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "selector": {"matchLabels": {"app.bex.co/app": "web"}},
        "template": {
            "metadata": {
                "labels": {
                    "app.bex.co/app": "web",
                    "app.bex.co/revision": "rev-3",
                    "app.kubernetes.io/managed-by": "bex-operator",
                }
            },
            "spec": {
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 40,
                "securityContext": {
                    "seccompProfile": {"type": "RuntimeDefault"},
                    "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
                },
                "containers": [
                    {
                        "name": "app",
                        "image": "a/b:1",
                        "imagePullPolicy": "Always",
                        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                        "env": [
                            {"name": "PORT", "value": "8080"},
                            {"name": "BEX_REVISION", "value": "rev-3"},
                        ],
                        "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "startupProbe": probe | {"periodSeconds": 1, "failureThreshold": 900},
                        "readinessProbe": probe | {"periodSeconds": 2, "failureThreshold": 15},
                        "livenessProbe": probe | {"periodSeconds": 10, "failureThreshold": 6},
                    }
                ],
            },
        },
    }


def test_service_and_ingress_meet_by_name() -> None:
    """The Service finds the container's port and the Ingress the Service's port by name."""
    made = render(("a.example.com", "b.example.com"), port=8080)

    assert made.service["spec"]["ports"] == [
        {"name": "http", "port": 8080, "targetPort": "http", "protocol": "TCP"}
    ]
    assert made.ingress is not None
    assert made.ingress["spec"]["ingressClassName"] == "bex"
    assert [rule["host"] for rule in made.ingress["spec"]["rules"]] == [
        "a.example.com",
        "b.example.com",
    ]
    path = made.ingress["spec"]["rules"][0]["http"]["paths"][0]
    assert path["backend"] == {"service": {"name": "web", "port": {"name": "http"}}}


def test_app_without_hosts_has_no_ingress() -> None:
    """It is reached inside the cluster only."""
    assert render().ingress is None


def test_budget_is_for_two_or_more_that_run() -> None:
    """One replica cannot be kept through a drain, none needs not be."""
    assert render(replicas=1).budget is None
    assert render(replicas=2, suspended=True).budget is None
    budget = render(replicas=2).budget
    assert budget is not None
    assert budget["spec"]["maxUnavailable"] == 1


def test_port_and_revision_always_win() -> None:
    """A variable of those names cannot point the App elsewhere."""
    env = [{"name": "PORT", "value": "1"}, {"name": "A", "value": "x"}]

    assert container(render(env=env))["env"] == [
        {"name": "A", "value": "x"},
        {"name": "PORT", "value": "3000"},
        {"name": "BEX_REVISION", "value": "rev-3"},
    ]


def test_health_path_makes_every_probe_http() -> None:
    """All three ask the same."""
    made = container(render(health_check_path="/up"))

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert made[probe]["httpGet"] == {"path": "/up", "port": "http", "scheme": "HTTP"}
        assert "tcpSocket" not in made[probe]


def test_tier_requests_what_it_limits() -> None:
    """A replica of a tier is guaranteed what it may use."""
    amounts = {"cpu": "500m", "memory": "512Mi"}

    assert container(render(tier="starter"))["resources"] == {
        "requests": amounts,
        "limits": amounts,
    }
    assert "resources" not in container(render())


def test_missing_requests_are_the_limits() -> None:
    """As the API server would fill in."""
    made = container(
        render(resources={"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0.1"}})
    )

    assert made["resources"] == {
        "requests": {"cpu": "100m", "memory": "1Gi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    }


def test_digest_needs_no_pull_of_what_is_there() -> None:
    """A tag may move, a digest cannot."""
    assert container(render(image="a@sha256:" + "0" * 64))["imagePullPolicy"] == "IfNotPresent"


SPECS = st.fixed_dictionaries(
    {},
    optional={
        "port": st.integers(1, 65535),
        "replicas": st.integers(0, 100),
        "suspended": st.booleans(),
        "tier": st.sampled_from(["free", "pro"]),
        "env": st.lists(st.sampled_from("ABCD"), unique=True).map(
            lambda names: [{"name": name, "value": name.lower()} for name in names]
        ),
        "args": st.lists(st.text(max_size=3), max_size=2),
    },
)


@hypothesis.given(fields=SPECS, hosts=st.sets(st.sampled_from(["a.b", "c.d"])))
def test_rendering_is_deterministic_and_satisfies_itself(
    fields: dict[str, Any], hosts: set[str]
) -> None:
    """The same App gives the same objects, and what was applied needs no applying."""
    one, two = render(tuple(sorted(hosts)), **fields), render(tuple(sorted(hosts)), **fields)

    assert one == two
    for child in (one.deployment, one.service, one.ingress, one.budget):
        assert child is None or differences.holds(child, child)
        assert child is None or differences.owned_by(child, OWNER.uid)


SCALED = {"autoscaling": {"min_replicas": 2, "max_replicas": 5}, "tier": "pro"}


def deployed(made: workload.Workload, replicas: int) -> dict[str, Any]:
    """The Deployment as somebody scaled it."""
    return {**made.deployment, "spec": {**made.deployment["spec"], "replicas": replicas}}


def test_autoscaled_app_leaves_replicas_alone() -> None:
    """The number is the autoscaler's, whose bounds are the App's."""
    made = render(**SCALED)

    assert made.autoscaler is not None
    assert "replicas" not in made.deployment["spec"]
    assert made.autoscaler["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 2,
        "maxReplicas": 5,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 80},
                },
            }
        ],
    }


@pytest.mark.parametrize("parked", [{"suspended": True}, {"replicas": 0}], ids=str)
def test_parking_wins_over_autoscaling(parked: dict[str, Any]) -> None:
    """Nothing runs, and nobody is there to scale it up."""
    made = render(**SCALED, **parked)

    assert made.autoscaler is None
    assert made.deployment["spec"]["replicas"] == 0


@pytest.mark.parametrize(("replicas", "wanted"), [(0, 2), (1, 2), (3, 3), (9, 5)])
def test_handover_starts_inside_the_bounds(replicas: int, wanted: int) -> None:
    """Pods that run stay, so far as the autoscaler may have them."""
    assert workload.handover(render(**SCALED), deployed(render(), replicas)) == wanted


def test_handover_happens_once() -> None:
    """Later it is not our number, unless somebody scaled to 0, where autoscalers give up."""
    made = render(**SCALED)

    assert workload.handover(made, deployed(made, 4)) is None
    assert workload.handover(made, deployed(made, 1)) is None
    assert workload.handover(made, deployed(made, 0)) == 2
    assert workload.handover(made, None) is None
    assert workload.handover(render(), deployed(render(), 4)) is None


def test_scale_of_an_autoscaled_app_is_its_deployments() -> None:
    """Before the Deployment is there, or ours again, it is the App's own number."""
    app = api.App(name="web", image="a/b:1", **SCALED)
    made = render(**SCALED)

    assert workload.scale_of(app, deployed(made, 4)) == 4
    assert workload.scale_of(app, deployed(made, 1)) == 2
    assert workload.scale_of(app, deployed(made, 99)) == 5
    assert workload.scale_of(app, None) == 2
    assert workload.scale_of(app, deployed(render(), 7)) == 2
