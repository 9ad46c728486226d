"""Property paths are written, read and followed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bex_stack.engine import errors, paths

steps = st.one_of(st.integers(0, 99), st.text(st.characters(exclude_characters='"\\'), min_size=1))


@given(st.text("abc", min_size=1), st.lists(steps, max_size=4))
def test_path_survives_being_written(first, rest):
    """Any key, with dots and brackets too, comes back as it was."""
    path = (first, *rest)

    assert paths.parse(paths.render(path)) == path


@pytest.mark.parametrize(
    "text", ["a[", "a[x]", 'a["b', "a[1"], ids=["open", "word", "quote", "end"]
)
def test_broken_path_is_refused(text):
    """A path that cannot be read is named."""
    with pytest.raises(errors.ProjectError, match="property path"):
        paths.parse(text)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("spec", ("spec", "replicas"), True),
        ("spec.containers[*].image", ("spec", "containers", 1, "image"), True),
        ("*", ("anything",), True),
        ("spec.replicas", ("spec",), False),
        ("spec.a", ("spec", "b"), False),
    ],
    ids=["below", "star", "any", "above", "beside"],
)
def test_pattern_covers_what_lies_below(pattern, path, expected):
    """A pattern names a place and everything under it."""
    assert paths.covers(paths.parse(pattern), path) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.b", {"a": {"b": 1, "c": 9}, "n": [5, 6]}),
        ("a.new", {"a": {"b": 8, "c": 9}, "n": [5, 6]}),
        ("n[0]", {"a": {"b": 8, "c": 9}, "n": [3, 6]}),
        ("n[*]", {"a": {"b": 8, "c": 9}, "n": [3]}),
        ("x.y", {"a": {"b": 8, "c": 9}, "n": [5, 6]}),
    ],
    ids=["key", "absent-before", "index", "all", "nowhere"],
)
def test_reset_puts_the_old_value_back(path, expected):
    """Exactly the named place is as it was; where the old value lacks it nothing is invented."""
    old = {"a": {"b": 1, "c": 2}, "n": [3]}
    new = {"a": {"b": 8, "c": 9}, "n": [5, 6]}

    assert paths.reset(old, new, paths.parse(path)) == expected
