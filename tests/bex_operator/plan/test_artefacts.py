"""What an App is made from."""

from typing import Any

import pytest

from bex_operator import api
from bex_operator.plan import artefacts

REPO = "https://example.com/a/b"
OWN, OTHER = "11111111-2222-3333-4444-555555555555", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"


def test_image_is_taken_as_written() -> None:
    """Nothing is to be built."""
    app = api.App(name="web", image="a/b:1")

    assert artefacts.source_of(app) == artefacts.Prebuilt("a/b:1")


def test_repository_has_every_default_filled_in() -> None:
    """A builder has nothing left to guess."""
    app = api.App(name="web", repo=REPO)

    assert artefacts.source_of(app) == artefacts.Repository(
        repo=REPO,
        branch="main",
        root_dir=".",
        dockerfile_path="Dockerfile",
        docker_context=".",
        builder="auto",
        clone_secret=None,
    )


def test_repository_with_everything_said() -> None:
    """What was said counts; folders are written one way."""
    app = api.App(
        name="web",
        repo=REPO,
        branch="dev",
        root_dir="./services/web/",
        dockerfile_path="docker/Dockerfile",
        docker_context="./services/",
        builder="dockerfile",
        clone_secret="key",
        build_filter={"paths": ["services/**"], "ignored_paths": ["**/*.md"]},
    )

    assert artefacts.source_of(app) == artefacts.Repository(
        repo=REPO,
        branch="dev",
        root_dir="services/web",
        dockerfile_path="docker/Dockerfile",
        docker_context="services",
        builder="dockerfile",
        clone_secret="key",
        paths=("services/**",),
        ignored_paths=("**/*.md",),
    )


@pytest.mark.parametrize(
    ("fields", "context"),
    [({"root_dir": "a"}, "a"), ({"root_dir": "a", "docker_context": "."}, ".")],
)
def test_context_is_the_root_folder_unless_said(fields: dict[str, Any], context: str) -> None:
    """It is relative to the repository, as the root folder is."""
    source = artefacts.source_of(api.App(name="web", repo=REPO, **fields))

    assert isinstance(source, artefacts.Repository)
    assert source.docker_context == context


def test_built_image_takes_the_place_of_the_repository() -> None:
    """The App is then one that could have been written with the image."""
    app = api.App(name="web", repo=REPO, branch="dev", port=4000)

    made = artefacts.with_image(app, "r/x@sha256:" + "a" * 64)

    assert made == api.App(name="web", image="r/x@sha256:" + "a" * 64, port=4000)


@pytest.mark.parametrize(
    "image",
    [
        f"localhost:5050/builds/{OTHER}/image@sha256:{'a' * 64}",
        f"localhost:5050/builds/{OTHER}/image:web-1",
        f"docker.io/builds/{OTHER}/cache:latest",
        f"builds/{OTHER}/image",
    ],
)
def test_image_that_was_built_for_another_app_is_refused(image: str) -> None:
    """By every name under which machines would find it."""
    refused = artefacts.foreign(artefacts.Prebuilt(image), OWN)

    assert refused == artefacts.Failed(
        "ForeignImage", "spec.image: it was built for another App; name its repository"
    )


@pytest.mark.parametrize(
    "image",
    [f"localhost:5050/builds/{OWN}/image:web-1", "ghcr.io/builds/tool:1", "builds/web:1"],
)
def test_own_images_and_those_of_people_are_not(image: str) -> None:
    """An App may go back to what was built for it, and a folder may be called builds elsewhere."""
    assert artefacts.foreign(artefacts.Prebuilt(image), OWN) is None
