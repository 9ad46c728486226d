"""What builds run and the registry lost: told as the platform's fault, and mended by a push."""

import subprocess
from typing import Any

import pytest

from bex_stack.embedded import builder_image, builds, registry, toolchain
from bex_stack.embedded import images as layouts
from tests.support import embedded as support
from tests.support.build_plant import BASE, Plant, plant

__all__ = ["plant"]
pytestmark = pytest.mark.timeout(1800)  # two builds, on a machine that may be busy
LOST = {each: f"{each.repository}:lost" for each in builder_image.ALL}
"""What nothing has pulled before."""


def build_settings(*_: object) -> dict[str, Any]:
    """Name images that are not there."""
    return {
        "image": f"{registry.KNOWN_AS}/{LOST[builder_image.STEPS]}",
        "scanner": f"{registry.KNOWN_AS}/{LOST[builder_image.SCANNER]}",
    }


def push(embedded: support.Embedded, image: builder_image.Packed) -> None:
    """Put an image back."""
    tools = toolchain.ensure([*builder_image.PROGRAMS, "crane"])
    reference = f"{registry.endpoint(embedded.instance)}/{LOST[image]}"
    layouts.push(image.ensure(toolchain=tools), reference, toolchain=tools)


def test_lost_image_is_the_platforms_fault_until_it_is_pushed_again(plant: Plant) -> None:
    """A step that lacks its image waits for it; a scanner that is missing ends the build, which is
    begun again when asked for. Nobody blames the repository."""
    plant.server.commit("lost", {"Dockerfile": BASE})
    plant.deploy("lost")
    waits = plant.wait_for("lost", "BuildImageUnavailable")
    push(plant.embedded, builder_image.STEPS)
    failed = plant.wait_for("lost", "BuildFailedInfrastructure")
    push(plant.embedded, builder_image.SCANNER)
    plant.request("lost", at="2999-01-01T00:00:00Z")
    plant.wait_for("lost", "Deployed")

    for told, image in ((waits, builder_image.STEPS), (failed, builder_image.SCANNER)):
        assert f"{registry.KNOWN_AS}/{LOST[image]}" in told
        assert "`bex up` pushes it again" in told
    assert len(plant.jobs("lost")) == 2


@pytest.mark.parametrize("image", builder_image.ALL, ids=lambda each: each.repository)
def test_up_pushes_again_what_the_registry_lost(
    embedded: support.Embedded, image: builder_image.Packed
) -> None:
    """Its images are looked for each time; also those of a state that does not know them."""
    endpoint = registry.endpoint(embedded.instance)
    pushed = builds.push_images(endpoint)
    steps = builder_image.STEPS
    noted = {
        "source_digest": "s",
        "registry": endpoint,
        "repository": steps.repository,
        "tag": steps.tag,
        "digest": pushed[steps.name],
    }
    provider = builds.BuilderImageProvider()

    def changes(**more: object) -> bool | None:
        return provider.diff("id", {**noted, **more}, noted).changes

    assert not changes(digests=pushed)
    assert changes()
    crane = toolchain.ensure(["crane"]).path("crane")
    subprocess.run(
        [crane, "delete", "--insecure", f"{endpoint}/{image.repository}@{pushed[image.name]}"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert changes(digests=pushed)
    builds.push_images(endpoint)

    assert not changes(digests=pushed)
