"""What an App is made from."""

from typing import Any

import pytest

from bex_operator import api
from bex_operator.plan import artefacts

REPO = "https://example.com/a/b"


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
    )

    assert artefacts.source_of(app) == artefacts.Repository(
        repo=REPO,
        branch="dev",
        root_dir="services/web",
        dockerfile_path="docker/Dockerfile",
        docker_context="services",
        builder="dockerfile",
        clone_secret="key",
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
