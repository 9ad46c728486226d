"""Which step of a build by buildpacks holds what."""

import dataclasses
from typing import Any

import pytest

from bex_operator.plan import artefacts, build_jobs, buildpacks

PHASES = buildpacks.Phases(
    builder="example.com/builder@sha256:1",
    run_image="",
    endpoint="registry:5000",
    image="registry:5000/builds/u/image:web-1",
    cache="registry:5000/builds/u/cache:buildpack",
    memory="3Gi",
    scanner="example.com/scanner:1",
)
SOURCE = artefacts.Repository(
    repo="https://git.example.com/team/web",
    branch="main",
    root_dir="app",
    dockerfile_path="Dockerfile",
    docker_context="app",
    builder="buildpack",
    clone_secret=None,
)
CREDENTIALS = {"clone", "push", "pull"}


def steps() -> list[dict[str, Any]]:
    """The containers of a whole build, with every credential there is."""
    platform = build_jobs.Platform(
        "bex-builds",
        "example.com/steps:1",
        build_jobs.Registry("registry:5000", "localhost:5050", key=b"k" * 32),
        builder="localhost:5050/bex/cnb@sha256:1",
        run_image="localhost:5050/bex/run@sha256:2",
        scanner="example.com/scanner:1",
        authority="PEM",
    )
    given = ("web-1", "web", "apps", "uid-1", SOURCE, "c" * 40, "main")
    order = build_jobs.Order(*given, credentials={"token": "secret"})
    pod = build_jobs.render(order, platform)["spec"]["template"]["spec"]
    return [*pod["initContainers"], *pod["containers"]]


def held(step: dict[str, Any]) -> set[str]:
    """The credentials that a step mounts."""
    return {each["name"] for each in step["volumeMounts"]} & CREDENTIALS


def test_each_step_has_one_credential_and_those_with_code_of_others_none() -> None:
    """Buildpacks run in detect and build: there is nothing to clone or push with."""
    assert {each["name"]: held(each) for each in steps()} == {
        "clone": {"clone"},
        "resolve": set(),
        "analyze": {"push"},
        "detect": set(),
        "restore": {"pull"},
        "build": set(),
        "export": {"push"},
        "contents": set(),
        "push": {"push"},
    }


def test_code_of_others_writes_nothing_that_phases_take_for_their_own() -> None:
    """The phases' notes are read only there; a folder for passing files is another's."""
    mounts = {
        each["name"]: {one["mountPath"]: one for one in each["volumeMounts"]} for each in steps()
    }

    assert mounts["build"]["/notes"]["readOnly"]
    assert mounts["build"]["/program"]["readOnly"]
    assert "/report" not in mounts["build"]
    assert mounts["build"]["/tmp"]["name"] != mounts["export"]["/tmp"]["name"]  # noqa: S108


def test_no_step_has_more_rights_than_its_image_asks_for() -> None:
    """Nobody is root, nothing is gained, and only the build may write beside its volumes."""
    confined = [each["securityContext"] for each in steps()]
    writing = [
        each["name"] for each in steps() if not each["securityContext"]["readOnlyRootFilesystem"]
    ]

    assert all(each["runAsNonRoot"] for each in confined)
    assert all(each["capabilities"] == {"drop": ["ALL"]} for each in confined)
    assert not any(each["allowPrivilegeEscalation"] for each in confined)
    assert writing == ["build"]


def test_base_of_our_registry_is_asked_for_where_pods_reach_it() -> None:
    """Machines call the registry by another name than pods do."""
    analyze = next(each for each in steps() if each["name"] == "analyze")

    assert analyze["image"] == "localhost:5050/bex/cnb@sha256:1"
    assert "-run-image=registry:5000/bex/run@sha256:2" in analyze["args"]


@pytest.mark.parametrize("clear_cache", [False, True])
def test_cleared_cache_is_not_read_and_written_anew(clear_cache: bool) -> None:
    """As for any other build."""
    wanted = dataclasses.replace(PHASES, clear_cache=clear_cache)
    reading = {
        each["name"]: f"-cache-image={PHASES.cache}" in each["args"]
        for each in buildpacks.render(wanted)
    }

    assert reading["restore"] != clear_cache
    assert reading["export"]


def test_phases_get_no_word_of_a_tenant() -> None:
    """Neither the repository's name nor its folders stand in what the lifecycle is told."""
    told = [arg for each in buildpacks.render(PHASES) for arg in each["args"]]

    assert not any("app/" in each or "git." in each for each in told)


@pytest.mark.parametrize(
    ("endpoint", "fits"),
    [
        ("10.90.0.1:5051", True),
        ("localhost:5050", True),
        ("zot.bex-registry.svc:5001", False),
        ("203.0.113.7:5000", False),
        ("10.0.0.1.example.com:5000", False),
    ],
)
def test_registry_that_the_lifecycle_cannot_speak_to_is_refused(endpoint: str, fits: bool) -> None:
    """Before a build, with the field and the rule."""
    refused = buildpacks.refusal(endpoint)

    assert (refused is None) == fits
    assert refused is None or refused.message.startswith("spec.builder: buildpack")
