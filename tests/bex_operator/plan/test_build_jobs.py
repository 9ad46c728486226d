"""The Job of a build: what each of its steps may do, and where it runs."""

import orjson

from bex_operator.plan import build_jobs, build_outcomes
from tests.bex_operator.plan.test_builds import SOURCE, A, built

PLATFORM = build_jobs.Platform(
    namespace="bex-builds",
    image="registry/builder:1",
    registry=build_jobs.Registry("registry:5000", "localhost:5050", ("docker.io",), b"k" * 32),
)


def order(**changes: object) -> build_jobs.Order:
    """One build to make."""
    given: dict[str, object] = {
        "job": "web-1", "app": "web", "namespace": "apps", "uid": "uid-1", "source": SOURCE,
        "commit": A, "branch": "main", **changes,
    }  # fmt: skip
    return build_jobs.Order(**given)  # type: ignore[arg-type]


def test_each_step_has_its_own_credential_and_no_other() -> None:
    """No step that runs tenants' code can push or clone."""
    spec = build_jobs.render(order(credentials={"key": "k", "known-hosts": "h"}), PLATFORM)["spec"][
        "template"
    ]["spec"]
    secrets = {each["name"] for each in spec["volumes"] if "secret" in each}
    held = {
        step["name"]: {each["name"] for each in step["volumeMounts"]} & secrets
        for step in [*spec["initContainers"], *spec["containers"]]
    }

    assert held == {
        "room": set(),
        "clone": {"clone"},
        "resolve": set(),
        "build": {"pull"},
        "push": {"push"},
    }


def test_next_build_goes_where_the_last_one_ran_if_it_can() -> None:
    """Its machine has what the last one left; another one will do."""
    known = [
        built(A, "Succeeded", created="1", machine="m1"),
        built(A, "Failed", created="3"),
        built(A, "Failed", created="2", machine="m2"),
    ]
    machine = build_outcomes.last_machine(known)
    pod = build_jobs.render(order(machine=machine), PLATFORM)["spec"]["template"]["spec"]
    (wished,) = pod["affinity"]["nodeAffinity"].values()
    (first,) = wished
    without = build_jobs.render(order(machine=build_outcomes.last_machine([])), PLATFORM)

    assert first["preference"]["matchFields"][0]["values"] == ["m2"]
    assert "affinity" not in without["spec"]["template"]["spec"]


def test_builds_have_users_of_their_own_and_are_never_privileged() -> None:
    """What BuildKit may do ends at its user namespace; the other steps may do nothing."""
    spec = build_jobs.render(order(), PLATFORM)["spec"]["template"]["spec"]
    steps = [*spec["initContainers"], *spec["containers"]]

    assert spec["hostUsers"] is False
    assert spec["automountServiceAccountToken"] is False
    assert not any(step["securityContext"].get("privileged") for step in steps)
    assert [step["name"] for step in steps if step["securityContext"].get("runAsNonRoot")] == [
        "clone", "resolve", "push",
    ]  # fmt: skip


def test_no_credential_stands_in_the_job() -> None:
    """Jobs are read by more people than Secrets are."""
    told = order(credentials={"token": "correct-horse"})
    text = orjson.dumps(build_jobs.render(told, PLATFORM))
    secret = build_jobs.render_secret(told, PLATFORM, now=0)["stringData"]

    assert all(value.encode() not in text for value in secret.values())
