"""When a change is a new release, and which number it gets."""

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from bex_operator import api
from bex_operator.api import status
from bex_operator.plan import releases


def digest(**fields: Any) -> str:
    """Digest of an App with these fields."""
    return releases.digest(api.App(**{"name": "web", "image": "a:1", **fields}))


def release(number: int, name: str) -> status.Release:
    """A release."""
    return status.Release(number=number, digest=name)


@pytest.mark.parametrize(
    "fields",
    [
        {"image": "a:2"},
        {"port": 80},
        {"env": [{"name": "A", "value": "1"}]},
        {"tier": "pro"},
        {"command": ["x"]},
        {"args": ["x"]},
        {"health_check_path": "/"},
        {"env_from_secret": "s"},
        {"restarted_at": "2026-01-01T00:00:00Z"},
        {"max_shutdown_delay_seconds": 1},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_a_process_notices_is_a_release(fields: dict[str, Any]) -> None:
    """The running process would be another."""
    assert digest(**fields) != digest()


@pytest.mark.parametrize(
    "fields",
    [{"replicas": 5}, {"suspended": True}, {"host": "a.b"}, {"hosts": ["a.b"]}, {"port": 3000}],
    ids=["replicas", "suspended", "host", "hosts", "default said"],
)
def test_what_it_does_not_notice_is_none(fields: dict[str, Any]) -> None:
    """Nothing restarts."""
    assert digest(**fields) == digest()


@pytest.mark.parametrize(
    ("deployed", "recorded", "number"),
    [
        (None, None, 1),
        (release(3, "new"), release(2, "old"), 3),
        (None, release(3, "new"), 3),
        (release(3, "old"), release(3, "old"), 4),
        (release(4, "old"), release(3, "new"), 5),
        (release(2, "old"), release(3, "new"), 3),
    ],
    ids=[
        "first",
        "crash before status",
        "Deployment lost",
        "change",
        "back to old",
        "old Deployment",
    ],
)
def test_number_is_the_known_one_or_the_next(
    deployed: status.Release | None, recorded: status.Release | None, number: int
) -> None:
    """A number belongs to one configuration for ever."""
    assert releases.choose("new", deployed, recorded) == release(number, "new")


@pytest.mark.parametrize(
    ("deployed", "number"),
    [
        (release(2, "new"), 3),
        (release(1, "new"), 3),
        (None, 3),
        (release(3, "new"), 3),
        (release(3, "old"), 4),
    ],
    ids=["same again", "old Deployment", "Deployment lost", "record not seen yet", "another"],
)
def test_release_that_is_ahead_of_the_records_may_be_the_one_that_is_asked_for_anew(
    deployed: status.Release | None, number: int
) -> None:
    """A rollback that the caches half know is not made twice."""
    recorded = release(2, "new")

    chosen = releases.choose("new", deployed, recorded, anew_after=recorded.number)

    assert chosen == release(number, "new")


RELEASES = st.none() | st.builds(release, st.integers(1, 9), st.sampled_from("abc"))


@hypothesis.given(wanted=st.sampled_from("abc"), deployed=RELEASES, recorded=RELEASES)
def test_choosing_again_changes_nothing(
    wanted: str, deployed: status.Release | None, recorded: status.Release | None
) -> None:
    """Once deployed, recorded or both, the choice stands."""
    chosen = releases.choose(wanted, deployed, recorded)

    assert releases.choose(wanted, chosen, recorded) == chosen
    assert releases.choose(wanted, chosen, chosen) == chosen
    assert all(known is None or chosen.number >= known.number for known in (deployed, recorded))


def deployment(annotations: dict[str, str], labels: dict[str, str] | None) -> dict[str, Any]:
    """A Deployment with these marks."""
    metadata = {} if labels is None else {"labels": labels}
    return {"metadata": {"annotations": annotations}, "spec": {"template": {"metadata": metadata}}}


MARK = {"app.bex.co/release": "d"}


@pytest.mark.parametrize(
    ("found", "known"),
    [
        (
            deployment(MARK, {"app.bex.co/revision": "rev-12"}),
            status.Release(number=12, digest="d"),
        ),
        (deployment({}, {"app.bex.co/revision": "rev-12"}), None),
        (deployment(MARK, {"app.bex.co/revision": "rev-x"}), None),
        (deployment(MARK, {}), None),
        (deployment(MARK, None), None),
        ({"metadata": {}, "spec": {"template": {"metadata": {}}}}, None),
        (None, None),
    ],
)
def test_release_of_a_deployment_is_in_its_marks(
    found: dict[str, Any] | None, known: status.Release | None
) -> None:
    """A Deployment without them runs nobody knows what."""
    assert releases.of_deployment(found) == known


def test_digest_stays_over_versions_of_the_operator() -> None:
    """Another one of the same configuration would make a release of every App, and restart it."""
    plain = api.App(name="web", image="a/b:1")
    full = api.App(
        name="web", image="a/b:1", port=80, args=("x",), env=({"name": "A", "value": "1"},)
    )

    assert releases.digest(plain) == "4186a4fec641f95488e464099c63055f"
    assert releases.digest(full) == "8667ee5679bc6929ffdab70c99274686"
