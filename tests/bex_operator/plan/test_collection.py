"""Which images may go, and which never."""

import random
from typing import Any

from bex_operator.api import names
from bex_operator.plan import artefacts, build_outcomes, builds, collection

APP, OTHER = "uid-1", "uid-2"
IMAGES, CACHE = f"builds/{APP}/image", f"builds/{APP}/cache"


def digest(letter: str) -> str:
    """A digest of 64 times the letter."""
    return f"sha256:{letter * 64}"


def manifest(letter: str, repository: str = IMAGES, **more: Any) -> collection.Manifest:
    """A manifest with that digest."""
    return collection.Manifest(repository, digest(letter), **more)


def facts(
    *letters: str, owners: tuple[str, ...] = (APP,), building: tuple[str, ...] = ()
) -> collection.Facts:
    """Facts that name those digests."""
    named = frozenset(digest(each) for each in letters)
    return collection.Facts(named, frozenset(owners), frozenset(building))


def going(known: collection.Facts, *manifests: collection.Manifest) -> list[str]:
    """The letters of what may go, in order."""
    return [each.digest[-1] for each in collection.unreachable(manifests, known)]


def test_image_of_a_build_goes_when_nothing_names_it() -> None:
    """Its tag is its Job's name: a tag alone keeps nothing there."""
    assert going(facts("a"), manifest("a", tags=("job-1",)), manifest("b", tags=("job-2",))) == [
        "b"
    ]


def test_parts_and_attachments_stay_with_the_image_and_go_with_it() -> None:
    """An index with its image, statements by their subject or by a tag made of its digest."""
    tag = digest("a").replace(":", "-")
    held = (
        manifest("a", tags=("job-1",), mentions=(digest("b"),)),
        manifest("b"),
        manifest("c", subject=digest("a")),
        manifest("d", tags=(f"{tag}.sig",)),
    )

    assert going(facts("a"), *held) == []
    assert set(going(facts(), *held)) == {"a", "b", "c", "d"}


def test_what_consists_of_others_goes_before_them() -> None:
    """Whoever looks in between finds no index whose image is gone."""
    held = (
        manifest("c"),
        manifest("b", mentions=(digest("c"),)),
        manifest("a", mentions=(digest("b"), digest("c"))),
    )

    assert going(facts(), *held) == ["a", "b", "c"]


def test_image_that_is_part_of_a_running_one_stays() -> None:
    """Pods name what they run: the image in an index, without the index."""
    held = (manifest("a", tags=("job-1",), mentions=(digest("b"),)), manifest("b"))

    assert going(facts("b"), *held) == ["a"]


def test_nothing_of_an_app_goes_while_it_is_built() -> None:
    """What is pushed may be named by nobody yet."""
    assert going(facts(building=(APP,)), manifest("a"), manifest("b", tags=("job",))) == []
    assert going(facts(building=(OTHER,)), manifest("a")) == ["a"]


def test_cache_lives_as_long_as_its_app() -> None:
    """The tagged one; what it was before goes at once."""
    held = (manifest("a", CACHE, tags=("latest",)), manifest("b", CACHE))

    assert going(facts(), *held) == ["b"]
    assert set(going(facts(owners=()), *held)) == {"a", "b"}


def test_tags_of_people_keep_what_they_name() -> None:
    """Outside of builds a tag is a wish; an image that lost it goes unless somebody runs it."""
    held = (
        manifest("a", "library/golang", tags=("1.26",)),
        manifest("b", "library/golang"),
        manifest("c", "bex/operator"),
    )

    assert going(facts("c"), *held) == ["b"]


def test_same_digest_in_two_repositories_is_judged_in_each() -> None:
    """What one App needs does not keep alive the other's repository, but for the name alone."""
    held = (manifest("a"), manifest("a", f"builds/{OTHER}/image"))

    assert going(facts("a"), *held) == []
    assert going(facts(), *held) == ["a", "a"]


def test_facts_are_read_from_everything_that_names_an_image() -> None:
    """Apps, releases, pods and what builds made; a build not noted yet counts as running."""
    label = {names.APP_UID_LABEL: APP, names.COMPONENT_LABEL: builds.COMPONENT}
    ended = {"conditions": [{"type": "Complete", "status": "True"}]}
    noted = {build_outcomes.OUTCOME_ANNOTATION: f'{{"image": "r/i@{digest("b")}"}}'}
    jobs = [
        {"metadata": {"labels": label, "annotations": noted}, "status": ended},
        {"metadata": {"labels": {**label, names.APP_UID_LABEL: OTHER}}, "status": ended},
    ]
    apps = [{"metadata": {"uid": APP}, "spec": {"image": f"r/i@{digest('a')}"}}]
    pod = {"metadata": {}, "status": {"containerStatuses": [{"imageID": f"r/i@{digest('c')}"}]}}
    read = collection.read_facts(apps, jobs, [pod])

    assert read == facts("a", "b", "c", building=(OTHER,))


def test_nothing_reached_from_a_root_ever_goes() -> None:
    """For graphs of any shape: what a kept manifest consists of is kept, and the rest goes."""
    for seed in range(200):
        dice = random.Random(seed)  # noqa: S311 - the same graphs each time
        letters = "0123456789abcdef"
        held = [
            manifest(each, mentions=tuple(map(digest, dice.sample(letters, dice.randrange(3)))))
            for each in letters
        ]
        roots = set(dice.sample(letters, dice.randrange(4)))
        gone = set(going(facts(*roots), *held))
        parts = {each.digest[-1]: {part[-1] for part in each.mentions} for each in held}

        assert not gone & roots
        assert not any(parts[each] & gone for each in set(letters) - gone)
        reached = roots | {part for each in set(letters) - gone for part in parts[each]}
        assert set(letters) - gone == reached


def test_build_is_refused_with_what_it_needs_and_what_there_is() -> None:
    """In units that people read, and with what they can do."""
    refused = collection.without_room(1 << 30)

    assert isinstance(refused, artefacts.Waiting)
    assert refused.reason == "RegistryFull"
    assert "1.0 GiB left, and a build needs 2.0 GiB; bex images collect" in refused.message
    assert collection.without_room(2 << 30) is None
