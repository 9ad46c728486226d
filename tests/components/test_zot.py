"""Zot's policy: the same facts as the embedded registry's, in Zot's words."""

import re
from typing import Any

import pytest

from bex_operator.api import images
from bex_operator.plan import build_jobs, builds, history, tokens
from components.manifests import zot

CONFIGURATION, BUILDS = zot.configuration(), zot.builds_configuration()


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
    assert {each["users"][0]: "create" in each["actions"] for each in found["policies"]} == {
        zot.PUSHER: True,
        zot.PULLER: False,
    }


def test_what_builds_push_is_read_by_nobody_without_a_credential() -> None:
    """Pods reach this registry, too; machines have a password."""
    found = access(f"{build_jobs.repository('uid-1')}/image")

    assert found == {
        "anonymousPolicy": [],
        "policies": [{"users": [zot.PULLER], "actions": ["read"]}],
    }


def test_as_many_images_stay_as_may_be_needed() -> None:
    """Remembered builds, releases in reach and builds on their way; of each cache, the last one."""
    image, cache = BUILDS["storage"]["retention"]["policies"]
    (kept,), (last,) = image["keepTags"], cache["keepTags"]

    assert image["repositories"] == ["builds/*/image"]
    assert kept["mostRecentlyPushedCount"] >= builds.KEPT + history.KEPT + 1
    assert (cache["repositories"], last["patterns"]) == (["builds/*/cache"], [zot.CACHE_TAGS])
    assert [
        each for each in ("latest", "buildpack", "other") if re.match(zot.CACHE_TAGS, each)
    ] == [
        "latest",
        "buildpack",
    ]


def test_tags_of_people_are_in_no_policy() -> None:
    """A tag that somebody pushed elsewhere stays until somebody deletes it."""
    policies = BUILDS["storage"]["retention"]["policies"]

    assert all(name.startswith(images.BUILDS) for each in policies for name in each["repositories"])


def test_nothing_goes_while_a_build_may_still_push() -> None:
    """Its layers are there before the image that names them."""
    storage = BUILDS["storage"]

    assert storage["gcDelay"] == storage["gcInterval"] == f"{images.GRACE_SECONDS}s"
    assert images.GRACE_SECONDS > build_jobs.LIMIT_SECONDS


def test_each_folder_has_one_keeper() -> None:
    """Two that collect in one folder would each miss what the other is about to name."""
    kept = []
    for made in (CONFIGURATION, BUILDS):
        storage = made["storage"]
        folders = [storage, *storage["subPaths"].values()]
        kept += [each["rootDirectory"] for each in folders if each["gc"]]
        assert all(each["gc"] == each["dedupe"] for each in folders)

    assert sorted(kept) == [f"{zot.ROOT}/{each}" for each in ("builds", "library", "platform")]


def test_builds_need_a_token_whose_signer_is_ours() -> None:
    """Nothing else is taken beside it, and the challenge is one that the operator knows."""
    assert BUILDS["http"]["auth"] == {
        "bearer": {
            "realm": "https://tokens.invalid",
            "service": tokens.SERVICE,
            "cert": zot.SIGNER,
        }
    }
