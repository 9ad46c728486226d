"""Values keep their marks on every way."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bex_stack.engine import values

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), plain, max_size=4))
def test_wire_conversion_keeps_every_value(properties):
    """What goes to the program and comes back is the same, whole numbers included."""
    back = values.from_struct(values.to_struct(properties))

    assert back == properties
    assert json.dumps(back, sort_keys=True) == json.dumps(properties, sort_keys=True)


@given(st.dictionaries(st.text(max_size=5), plain, max_size=4))
def test_mask_hides_and_reveal_shows(properties):
    """A secret is one word for people and itself for providers."""
    wrapped = {key: values.secret(value) for key, value in properties.items()}

    assert set(values.mask(wrapped).values()) <= {values.MASK}
    assert values.reveal(wrapped) == properties


def test_outputs_get_the_secrets_of_their_inputs():
    """Objects are marked inside, anything else as a whole; lists are secret when one item is."""
    inputs = {"a": {"b": values.secret(1), "c": 2}, "d": [values.secret(3)], "e": 4, "gone": 5}

    marked = values.mark_like({"a": {"b": 1, "c": 2}, "d": [3], "e": 4}, inputs)

    assert marked == {"a": {"b": values.secret(1), "c": 2}, "d": values.secret([3]), "e": 4}


@pytest.mark.parametrize(
    ("value", "unknown", "secret"),
    [
        ({"a": [values.UNKNOWN]}, True, False),
        (values.secret(values.UNKNOWN), True, True),
        ({"a": 1}, False, False),
    ],
    ids=["nested", "both", "neither"],
)
def test_marks_are_found_at_any_depth(value, unknown, secret):
    """Unknowns and secrets may lie anywhere inside a value."""
    assert values.has_unknowns(value) is unknown
    assert values.has_secrets(value) is secret
