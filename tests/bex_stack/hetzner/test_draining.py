"""The order in which a stack at Hetzner goes: a plan from what is there, without doing anything."""

from typing import Any

from bex_stack import program, stack_files
from bex_stack.hetzner import draining, observed
from tests.bex_stack.hetzner import examples
from tests.support import pulumi_recorder

WHERE = "--stack hetzner"
OURS = {"bex-stack": "hetzner"}


def workload(name: str, **spec: Any) -> dict[str, Any]:
    """A Deployment without volumes, unless told otherwise."""
    template = {"spec": {"volumes": spec.pop("volumes", [])}}
    meta = {"name": name, "namespace": "shop"}
    return {"kind": "Deployment", "metadata": meta, "spec": {"template": template, **spec}}


def named(name: str, **spec: Any) -> dict[str, Any]:
    """Some other object."""
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def test_plan_ends_with_pulumi_and_the_audit_whatever_is_there() -> None:
    """An empty cluster leaves the same three commands."""
    steps = draining.plan(examples.wanted(), [], draining.Seen(), WHERE)

    assert [each.command for each in steps] == [
        "pulumi state unprotect --all --yes --stack hetzner",
        "pulumi destroy --stack hetzner",
        "bex audit --stack hetzner",
    ]
    assert all(each.timeout_seconds and each.waits_for for each in steps)


def test_only_workloads_that_hold_a_claim_are_scaled_down() -> None:
    """By name or by templates of their own; what runs no pod already is left alone."""
    volume = {"persistentVolumeClaim": {"claimName": "data"}}
    seen = draining.Seen(
        claims=[named("data")],
        workloads=[
            workload("plain", volumes=[{"emptyDir": {}}]),
            workload("holds", volumes=[volume]),
            workload("asleep", volumes=[volume], replicas=0),
            workload("other", volumes=[{"persistentVolumeClaim": {"claimName": "theirs"}}]),
            workload("set", volumeClaimTemplates=[named("data")]),
        ],
    )
    (pods, volumes, *_rest) = draining.plan(examples.wanted(), [], seen, WHERE)

    assert [name for _, _, name in pods.what] == ["holds", "set"]
    assert volumes.what == (("PersistentVolumeClaim", "shop", "data"),)


def test_protection_is_lifted_from_the_stacks_own_things_only() -> None:
    """Never from what does not carry its label, whatever it is called."""
    things = [
        observed.Thing("load_balancers", 1, "bex-edge", OURS, protected=True),
        observed.Thing("load_balancers", 2, "bex-edge-2", {}, protected=True),
        observed.Thing("volumes", 3, "pvc-1", {"bex-stack": "other"}, protected=True),
        observed.Thing("servers", 4, "bex-infra-0", OURS),
    ]
    (step, *_rest) = draining.plan(examples.wanted(), things, None, WHERE)

    assert [each.id for each in step.things] == [1]


def test_pulumi_takes_the_cluster_down_before_the_server_that_runs_its_controllers() -> None:
    """Everything of Cluster API depends on day 0, so a destroy comes to it first."""
    config = stack_files.read_config(examples.ROOT / "Pulumi.hetzner.yaml")
    recording = pulumi_recorder.record(program.deploy, stack="hetzner", config=config)
    by_urn = {each.urn: each for each in recording.resources}

    def needs(urn: str) -> set[str]:
        found, waiting = set(), [urn]
        while waiting:
            each = by_urn[waiting.pop()]
            after = {*each.dependencies, each.provider.rpartition("::")[0]} & by_urn.keys()
            waiting += after - found
            found |= after
        return found

    server = recording.named("infra-server").urn
    token = recording.named("app-cluster-secret-hetzner").urn
    (cluster,) = recording.of_type("kubernetes:cluster.x-k8s.io/v1beta2:Cluster")
    assert {server, token} <= needs(cluster.urn)
