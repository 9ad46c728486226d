"""A repository without a Dockerfile, built by Cloud Native Buildpacks: the real lifecycle with a
builder made here, phase by phase in pods, and answering: run by `make check-builds`.
"""

import json
from concurrent import futures
from typing import Any

import pytest

from bex_operator.plan import build_outcomes as plan
from bex_stack import app_builds, image_evidence
from bex_stack.embedded import registry
from tests.integration.test_build_faults import builds, kill, runs
from tests.support import cnb_builder
from tests.support import embedded as support
from tests.support.build_plant import BUILD_SECONDS, Plant, plant
from tests.support.embedded import embedded
from tests.support.waiting import wait_until

__all__ = ["embedded", "plant"]

pytestmark = pytest.mark.timeout(3600)
HOLD_SECONDS = "30"
"""How long a phase is made to take that a test comes between."""


def build_settings(
    embedded: support.Embedded, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The builder that the plant's operator uses."""
    endpoint = registry.endpoint(embedded.instance)
    builder, run_image = cnb_builder.push(tmp_path_factory.mktemp("cnb"), endpoint)
    return {
        "builder": f"{registry.KNOWN_AS}/{builder}",
        "runImage": f"{registry.KNOWN_AS}/{run_image}",
    }


def outcomes(plant: Plant, name: str) -> list[dict[str, Any]]:
    """What came of the App's builds."""
    noted = [job["metadata"]["annotations"] for job in plant.jobs(name)]
    return [json.loads(each[plan.OUTCOME_ANNOTATION]) for each in noted]


def wait_until_built(plant: Plant, name: str) -> None:
    """Wait for the App's first build, and its release."""
    ended = {"Deployed", "BuildFailedUserError", "BuildFailedInfrastructure"}
    wait_until(lambda: plant.ready(name)[1] in ended, f"{name} is built", BUILD_SECONDS)
    assert plant.ready(name)[1] == "Deployed", plant.ready(name)[2]


def test_repository_is_built_and_answers_and_its_cache_is_kept(plant: Plant) -> None:
    """No step with code of others saw a credential; the next build finds what the last one kept."""
    plant.server.commit("greets", {"app/greeting.txt": "hello\n"})
    plant.deploy("greets", builder="buildpack", root_dir="app")
    wait_until_built(plant, "greets")
    assert plant.answer("greets") == "hello, build 1"

    plant.server.commit("greets", {"app/greeting.txt": "good evening\n"})

    def answers_anew() -> bool:
        return plant.answer("greets") == "good evening, build 2"

    wait_until(answers_anew, "the second commit answers", BUILD_SECONDS)
    for each in outcomes(plant, "greets"):
        print(each["strategy"], each["seconds"])  # noqa: T201 - the report
        assert each["strategy"] == "buildpack"
        assert {"clone", "resolve", "build", "push"} <= each["seconds"].keys()


def test_labels_provenance_and_contents_lie_with_the_image(plant: Plant) -> None:
    """As with an image that BuildKit built."""
    plant.server.commit("labelled", {"greeting.txt": "hello\n"})
    plant.deploy("labelled", builder="buildpack")
    wait_until_built(plant, "labelled")
    fetch, digest = plant.beside("labelled")
    (image, _) = fetch(f"manifests/{digest}")["manifests"]
    config = fetch(f"manifests/{image['digest']}")["config"]["digest"]
    labels = fetch(f"blobs/{config}")["config"]["Labels"]
    provenance = image_evidence.find(fetch, digest, image_evidence.PROVENANCE)
    contents = image_evidence.find(fetch, digest, image_evidence.SBOM)
    assert provenance is not None
    assert contents is not None
    definition = provenance["predicate"]["buildDefinition"]
    commit = definition["externalParameters"]["commit"]

    assert labels["org.opencontainers.image.revision"] == commit
    assert labels["app.bex.co/build-of"] == "bex-apps/labelled"
    assert provenance["subject"][0]["digest"]["sha256"] == image["digest"].partition(":")[2]
    assert "@sha256:" in definition["resolvedDependencies"][0]["uri"]
    assert "site" in {each.name.rpartition("/")[2] for each in image_evidence.packages(contents)}


def test_repository_that_no_buildpack_wants_is_told_so(plant: Plant) -> None:
    """The repository has to change, and the words say why."""
    plant.server.commit("unwanted", {"other.txt": "hello\n"})
    plant.deploy("unwanted", builder="buildpack")
    told = plant.wait_for("unwanted", "BuildFailedUserError")

    assert "detect: " in told
    assert "there is no greeting.txt" in told


def test_buildpack_that_fails_says_its_last_words(plant: Plant) -> None:
    """What it found wrong with the repository."""
    plant.server.commit("empty", {"greeting.txt": "\n"})
    plant.deploy("empty", builder="buildpack")
    told = plant.wait_for("empty", "BuildFailedUserError")

    assert "build: " in told
    assert "greeting.txt is empty" in told


def test_killed_phase_is_run_again(plant: Plant) -> None:
    """In another pod of the same Job, from the clone on; one image comes of it."""
    files = {"greeting.txt": "hello\n", "hold.txt": HOLD_SECONDS}
    commit = plant.server.commit("killed", files)
    with futures.ThreadPoolExecutor() as pool:
        killing = pool.submit(kill, "phase", "--step=build")
        plant.deploy("killed", builder="buildpack")
        assert killing.result()
    wait_until(lambda: runs(plant, "killed", commit), "it runs", BUILD_SECONDS)
    plant.wait_for("killed", "Deployed")
    (job,) = plant.jobs("killed")

    assert job["status"]["failed"] == 1
    assert plant.answer("killed") == "hello, build 1"


def test_phase_is_cancelled_and_the_next_commit_is_built(plant: Plant) -> None:
    """Who did it is told; the cancelled build leaves nothing that the next one finds."""
    plant.server.commit("stopped", {"greeting.txt": "hello\n", "hold.txt": "3000"})
    plant.deploy("stopped", builder="buildpack")
    wait_until(lambda: plant.ready("stopped")[2].endswith(": build"), "it builds", BUILD_SECONDS)
    plant.embedded.ask(lambda kube: app_builds.cancel_in(kube, "stopped"))
    told = plant.wait_for("stopped", "BuildCancelled")
    commit = plant.server.commit("stopped", {"greeting.txt": "hello again\n"})
    wait_until(lambda: runs(plant, "stopped", commit), "the next runs", BUILD_SECONDS)
    plant.wait_for("stopped", "Deployed")

    assert "during build" in told
    assert [each.state for each in builds(plant, "stopped")] == ["Cancelled", "Succeeded"]
    assert plant.answer("stopped") == "hello again, build 1"
