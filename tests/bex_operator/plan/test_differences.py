"""Whether an object is as it should be."""

from typing import Any

import pytest

from bex_operator.plan import differences


@pytest.mark.parametrize(
    ("observed", "wanted", "same"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"selector": {"a": "b", "c": "d"}}, {"selector": {"a": "b"}}, False),
        ({"selector": {"a": "b"}, "c": 1}, {"selector": {"a": "b"}}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": None}, {"a": {}}, False),
        ([1, 2], [2, 1], False),
        ([{"name": "x", "d": 1}, {"name": "y"}], [{"name": "y"}], True),
        ([{"name": "x"}, {"name": "y"}], [{"name": "y"}, {"name": "x"}], False),
        ([{"name": "x"}], [{"name": "x"}, {"name": "y"}], False),
        ([{"a": 1, "default": 2}], [{"a": 1}], True),
        ([{"a": 1}, {"a": 2}], [{"a": 1}], False),
        ([], [], True),
        (["x"], [], False),
    ],
    ids=[
        "more is fine",
        "wider selector",
        "same selector",
        "missing",
        "bool is no int",
        "null is no object",
        "order",
        "others' item",
        "order of names",
        "missing item",
        "default inside",
        "longer list",
        "empty",
        "not empty",
    ],
)
def test_holds(observed: Any, wanted: Any, same: bool) -> None:
    """What was wanted is there, whatever else is."""
    assert differences.holds(observed, wanted) is same


def owner(uid: str) -> dict[str, Any]:
    """A controller's reference."""
    return {"uid": uid, "controller": True}


@pytest.mark.parametrize(
    ("metadata", "owned"),
    [
        ({"ownerReferences": [owner("a")]}, True),
        ({"ownerReferences": [owner("b")], "labels": {"app.bex.co/app-uid": "a"}}, False),
        ({"ownerReferences": [{"uid": "a"}]}, False),
        ({"labels": {"app.bex.co/app-uid": "a"}}, True),
        ({"labels": {"app.bex.co/app": "web"}}, False),
        ({}, False),
    ],
    ids=["controller", "another's", "no controller", "reference removed", "same name", "foreign"],
)
def test_owned_by(metadata: dict[str, Any], owned: bool) -> None:
    """Only the UID makes an object the App's."""
    assert differences.owned_by({"metadata": metadata}, "a") is owned


def test_digest_does_not_depend_on_order_of_keys() -> None:
    """Equal content, equal digest."""
    assert differences.digest({"a": 1, "b": 2}) == differences.digest({"b": 2, "a": 1})
    assert differences.digest({"a": 1}) != differences.digest({"a": 2})


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2, "b": []}, {"a": 2, "b": []}),
        ({"a": 1}, {}, {"a": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": None}}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, {}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, {"a": [{"b": 1}]}),
    ],
)
def test_merge_patch_tells_what_goes_too(old: Any, new: Any, patch: Any) -> None:
    """A field that is left out would stay: a merge patch has to name it."""
    assert differences.merge(old, new) == patch
