"""Which configuration an App is to have, what is recorded of it, and what is forgotten."""

from typing import Any

import pytest

from bex_operator import api
from bex_operator.api import names, records, status
from bex_operator.plan import artefacts, history, releases, workload

OWNER = workload.Owner("web", "apps", "uid-1")
DIGEST = "sha256:" + "a" * 64


def app(**fields: Any) -> api.App:
    """An App."""
    return api.App(**{"name": "web", "image": "a/b:1", **fields})


def record(number: int, made: api.App | None = None, **fields: Any) -> records.Record:
    """The record of a release with this configuration."""
    made = made or app(env=[{"name": "N", "value": str(number)}])
    given = {"number": number, "digest": releases.digest(made), "why": "", **fields}
    return records.Record(**{"config": history.config_of(made), **given})


def rollback(revision: str) -> dict[str, str]:
    """Annotations that ask for a rollback."""
    return {names.ROLLBACK_ANNOTATION: revision}


OLD, NEW = app(port=1), app(port=2, replicas=5, host="a.example.com")
KNOWN = (record(1, OLD, image_digest=DIGEST), record(2, NEW))


def test_without_a_rollback_the_spec_counts() -> None:
    """Records alone change nothing."""
    assert history.wish(NEW, {}, KNOWN) == history.Wish(NEW)


def test_rollback_takes_configuration_and_leaves_scale_and_routes() -> None:
    """What makes the pods is the old release's, all else stays the spec's."""
    wish = history.wish(NEW, rollback("rev-1"), KNOWN)

    assert wish.fresh
    assert wish.wanted.port == 1
    assert (wish.wanted.replicas, wish.wanted.host) == (5, "a.example.com")


@pytest.mark.parametrize(
    ("live", "older"),
    [
        ({"resourceVersion": "9"}, False),
        ({"annotations": {"other": "x"}}, False),
        ({"generation": 2}, True),
        ({"uid": "another"}, True),
        ({"annotations": rollback("rev-1")}, True),
    ],
    ids=str,
)
def test_only_what_makes_a_release_makes_an_app_another(live: dict[str, Any], older: bool) -> None:
    """Its spec, a rollback, or that it is another App of the name."""
    cached = {"metadata": {"uid": "u", "generation": 1, "resourceVersion": "7"}}

    assert history.is_older(cached, {"metadata": cached["metadata"] | live}) is older


def opened_rollback() -> records.Record:
    """The release that restores rev-1."""
    wish = history.wish(NEW, rollback("rev-1"), KNOWN)
    release = status.Release(number=3, digest=releases.digest(wish.wanted))
    return history.opened(wish, release, KNOWN[-1])


def test_rollback_is_a_release_with_the_digest_of_then() -> None:
    """The tag is not looked up again: it may mean another image by now."""
    made = opened_rollback()

    assert (made.number, made.rollback_to, made.image_digest) == (3, 1, DIGEST)
    assert made.why == "rollback to rev-1"


@pytest.mark.parametrize(
    "change", [{}, {"replicas": 9}, {"suspended": True}, {"host": "b.example.com"}]
)
def test_rollback_holds_while_the_spec_runs_the_same(change: dict[str, Any]) -> None:
    """Another `up` of the same program, or another scale, does not undo it."""
    spec = NEW.model_copy(update=change)

    wish = history.wish(spec, rollback("rev-1"), (*KNOWN, opened_rollback()))

    assert not wish.ended
    assert not wish.fresh
    assert wish.wanted.port == 1


def test_rollback_ends_with_a_changed_spec() -> None:
    """Whoever mends the program gets what it says."""
    spec = app(port=7)

    wish = history.wish(spec, rollback("rev-1"), (*KNOWN, opened_rollback()))

    assert wish == history.Wish(spec, ended=True)


def test_release_after_a_rollback_that_ended_restores_nothing() -> None:
    """What the spec says is no older release, whatever ran before."""
    spec = app(port=7)
    release = status.Release(number=4, digest=releases.digest(spec))
    made = history.opened(history.Wish(spec), release, opened_rollback())

    assert (made.rollback_to, made.instead, made.image_digest) == (None, None, None)
    assert made.why == "changed: port"


def test_restart_goes_on_beside_a_rollback() -> None:
    """It restarts what runs; the release is another with the same configuration and origin."""
    before = opened_rollback()
    spec = NEW.model_copy(update={"restarted_at": "2026-01-31T12:00:00Z"})

    wish = history.wish(spec, rollback("rev-1"), (*KNOWN, before))

    assert not wish.ended
    release = status.Release(number=4, digest=releases.digest(wish.wanted))
    made = history.opened(wish, release, before)
    assert release.digest != before.digest
    assert (made.why, made.rollback_to, made.image_digest) == ("restart", 1, DIGEST)


def test_rollback_to_what_cannot_be_scaled_by_load_runs_a_fixed_number() -> None:
    """Without CPU set aside an autoscaler has nothing to go by."""
    spec = app(tier="pro", autoscaling={"maxReplicas": 5}, replicas=3)

    wish = history.wish(spec, rollback("rev-1"), KNOWN)

    assert (wish.wanted.autoscaling, wish.wanted.replicas, wish.wanted.port) == (None, 3, 1)


def test_record_that_a_later_version_refuses_is_impossible() -> None:
    """It is told, not tried."""
    broken = KNOWN[0].model_copy(update={"config": {"image": "a/b:1", "tier": "gone"}})

    with pytest.raises(history.Impossible, match=r"cannot run any more: spec\.tier"):
        history.wish(NEW, rollback("rev-1"), (broken, KNOWN[1]))


@pytest.mark.parametrize("asked", ["rev-9", "", "rev-x", "yesterday"])
def test_rollback_to_what_is_not_kept_is_impossible(asked: str) -> None:
    """The message names what is kept."""
    with pytest.raises(history.Impossible, match="kept: rev-1, rev-2"):
        history.wish(NEW, rollback(asked), KNOWN)


@pytest.mark.parametrize(
    ("image", "pinned"),
    [
        ("a/b:1", f"a/b@{DIGEST}"),
        ("nginx", f"nginx@{DIGEST}"),
        ("localhost:5050/a:1", f"localhost:5050/a@{DIGEST}"),
        ("localhost:5050/team/a:1", f"localhost:5050/team/a@{DIGEST}"),
        (f"a/b:1@{DIGEST}", f"a/b:1@{DIGEST}"),
    ],
)
def test_image_is_pinned_by_its_digest(image: str, pinned: str) -> None:
    """A tag may move, and what is by digest already stays as it is written."""
    made = record(1, app(image=image), image_digest=DIGEST)

    assert history.pinned(app(image=image), made).image == pinned


def test_what_runs_is_as_recorded_and_scaled_as_asked() -> None:
    """The spec may ask for another release already; where it leads and how much is its own."""
    pinned = history.pinned(NEW, KNOWN[0])

    assert (pinned.port, pinned.image) == (1, f"a/b@{DIGEST}")
    assert (pinned.replicas, pinned.host) == (5, "a.example.com")
    assert history.pinned(NEW, KNOWN[1]) == NEW


def test_restored_release_says_where_its_image_came_from_then() -> None:
    """It is not built anew."""
    made = records.Made(job="web-1", commit="c")
    built = {"origin": "commit c of main", "note": "the tag may move", "made": made}
    known = (KNOWN[0].model_copy(update=built), KNOWN[1])
    wish = history.wish(NEW, rollback("rev-1"), known)
    release = status.Release(number=3, digest=releases.digest(wish.wanted))

    opened = history.opened(wish, release, known[-1])

    assert (opened.origin, opened.note) == ("commit c of main", "the tag may move")
    assert opened.made == made.model_copy(update={"reused": True})


def test_record_reads_back_from_its_object() -> None:
    """Nothing is lost on the way through the API server."""
    made = opened_rollback()

    manifest = history.render(made, OWNER)

    assert history.read([manifest], OWNER.uid) == (made,)
    assert history.read([manifest], "another uid") == ()


@pytest.mark.parametrize("data", [None, [], {}, {"digest": 1}, {"digest": "d", "config": 3}])
def test_garbled_record_counts_as_none(data: Any) -> None:
    """Somebody else's object, or a damaged one, stops nothing."""
    assert records.Record.from_manifest({"revision": 1, "data": data}) is None


def test_last_ten_the_serving_and_the_restored_one_are_kept() -> None:
    """What may be needed is never forgotten."""
    known = [record(number) for number in range(1, 15)]

    spare = history.superfluous(known, "rev-2", 3)

    assert [each.number for each in spare] == [1, 4]


def test_release_that_served_never_failed() -> None:
    """What became of a release is told once, with its time; the last ten are kept."""
    served = status.Outcome(number=1, served=True, at="t1")
    failed = status.Outcome(number=1, served=False, message="m", at="t1")

    assert history.outcomes((), served, failed, now="t1") == (served,)
    assert history.outcomes((failed,), served, now="t1") == (served,)
    assert history.outcomes((failed,), failed, now="t2") == (failed,)
    many = [status.Outcome(number=number, served=True) for number in range(20)]
    assert [each.number for each in history.outcomes(many, now="t1")] == list(range(10, 20))


def test_record_of_what_runs_already_is_as_it_runs() -> None:
    """The pods' image counts, whatever its tag means by now."""
    made = record(3, note="the tag may move", image_digest="sha256:old", who="ada")
    containers = [
        {"name": "sidecar", "image": "x@sha256:y"},
        {"name": "app", "image": "a@sha256:z"},
    ]
    deployment = {"spec": {"template": {"spec": {"containers": containers}}}}

    found = history.adopted(made, deployment)

    update = {"image_digest": "sha256:z", "note": None, "who": None, "why": "found running"}
    assert found == made.model_copy(update=update)
    containers[1]["image"] = "a:1"
    assert history.adopted(made, deployment).image_digest is None


@pytest.mark.parametrize(
    ("asked", "restores", "holds"),
    [
        ("rev-1", 1, True),
        ("rev-2", 1, False),
        ("x", 1, False),
        (None, 1, False),
        ("rev-1", None, False),
    ],
)
def test_newest_release_may_be_the_rollback_that_is_asked_for(
    asked: str | None, restores: int | None, holds: bool
) -> None:
    """Only the newest one counts."""
    known = [record(1), record(2, rollback_to=restores)]
    annotations = rollback(asked) if asked else {}

    assert history.is_rolled_back(annotations, known) is holds
    assert not history.is_rolled_back(annotations, [])


def test_record_is_kept_under_the_apps_name_and_its_number() -> None:
    """Which `kubectl get controllerrevisions` shows."""
    made = history.render(record(7, OLD), OWNER)

    assert made["metadata"]["name"] == "web-rev-7"
    assert (made["apiVersion"], made["kind"]) == ("apps/v1", "ControllerRevision")
    assert made["revision"] == 7


def test_new_record_says_who_asked_and_where_its_image_comes_from() -> None:
    """An image that was there already was built for something else."""
    built = records.Made(job="j", commit="c")
    artefact = artefacts.Ready("r/i@sha256:1", "commit c", built)

    fresh = history.signed(record(3), who="ada", artefact=artefact, before="r/i@sha256:0")
    again = history.signed(record(3), who=None, artefact=artefact, before="r/i@sha256:1")
    old = records.Made(job="old", commit="b")
    held = record(3).model_copy(update={"origin": "then", "made": old})
    restored = history.signed(held, who="bo", artefact=artefact, before=None)

    assert (fresh.who, fresh.origin, fresh.made) == ("ada", "commit c", built)
    assert again.made == built.model_copy(update={"reused": True})
    assert (restored.origin, restored.made) == ("then", old)


@pytest.mark.parametrize(
    ("job", "image", "unreleased"),
    [
        ("new", "a/b:2", True),
        ("new", "a/b:1", False),
        ("old", "a/b:2", False),
        (None, "a/b:2", False),
    ],
)
def test_build_is_released_once(job: str | None, image: str, unreleased: bool) -> None:
    """Not when its image runs already, and not when a release was made of it before."""
    old = records.Made(job="old", commit="b")
    known = [record(1), record(2, app()).model_copy(update={"made": old})]
    made = records.Made(job=job, commit="c") if job else None

    assert history.is_unreleased(artefacts.Ready(image, None, made), known) is unreleased
    assert history.is_unreleased(artefacts.Ready(image, None, made), []) is (made is not None)
