"""A repository without a Dockerfile, built by Cloud Native Buildpacks: the real lifecycle with a
builder made here, phase by phase in pods, and answering: run by `make check-builds`.
"""

import json
from typing import Any

import pytest

from bex_operator.plan import build_outcomes as plan
from bex_stack import image_evidence
from bex_stack.embedded import registry
from tests.support import cnb_builder
from tests.support import embedded as support
from tests.support.build_plant import BUILD_SECONDS, Plant, plant
from tests.support.embedded import embedded
from tests.support.waiting import wait_until

__all__ = ["embedded", "plant"]

pytestmark = pytest.mark.timeout(3600)


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
