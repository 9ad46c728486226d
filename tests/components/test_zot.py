"""Zot's policy: the same facts as the embedded registry's, in Zot's words."""

from typing import Any

import pytest

from bex_operator.api import images
from bex_operator.plan import build_jobs, builds, history
from components.manifests import zot

CONFIGURATION = zot.configuration()


def access(repository: str) -> dict[str, Any]:
    """What counts for a repository: the longest pattern that matches, and no other."""
    rules = CONFIGURATION["http"]["accessControl"]["repositories"]
    matching = [each for each in rules if repository.startswith(each.removesuffix("**"))]
    return dict(rules[max(matching, key=len)])


@pytest.mark.parametrize("repository", ["bex/hello-go", "library/python", "pause"])
def test_images_of_the_platform_are_read_without_a_credential(repository: str) -> None:
    """A kubelet has none; pushing takes one."""
    found = access(repository)

    assert found["anonymousPolicy"] == ["read"]
    assert [each["users"] for each in found["policies"]] == [[zot.PUSHER]]


def test_what_builds_push_is_read_by_nobody_without_a_credential() -> None:
    """Pods reach this registry, too; the pusher's rule is there again, for one rule counts."""
    found = access(f"{build_jobs.repository('uid-1')}/image")

    assert found["anonymousPolicy"] == []
    assert [each["users"] for each in found["policies"]] == [[zot.PUSHER]]


def test_as_many_images_stay_as_may_be_needed() -> None:
    """Remembered builds, releases in reach and builds on their way; of the cache, the last one."""
    image, cache = CONFIGURATION["storage"]["retention"]["policies"]
    (kept,), (last,) = image["keepTags"], cache["keepTags"]

    assert image["repositories"] == ["builds/*/image"]
    assert kept["mostRecentlyPushedCount"] >= builds.KEPT + history.KEPT + 1
    assert (cache["repositories"], last["patterns"]) == (["builds/*/cache"], ["latest"])


def test_tags_of_people_are_in_no_policy() -> None:
    """A tag that somebody pushed elsewhere stays until somebody deletes it."""
    policies = CONFIGURATION["storage"]["retention"]["policies"]

    assert all(name.startswith(images.BUILDS) for each in policies for name in each["repositories"])


def test_nothing_goes_while_a_build_may_still_push() -> None:
    """Its layers are there before the image that names them."""
    storage = CONFIGURATION["storage"]

    assert storage["gcDelay"] == storage["gcInterval"] == f"{images.GRACE_SECONDS}s"
    assert images.GRACE_SECONDS > build_jobs.LIMIT_SECONDS
