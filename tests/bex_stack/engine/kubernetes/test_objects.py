"""Objects, their spelling and their secrets."""

import pytest

from bex_stack.engine import errors, values
from bex_stack.engine.kubernetes import objects


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("100Mi", "100Mi"),
        ("1500m", "1500m"),
        (2, "2"),
        ("0", "0"),
        ("1e3", "1e3"),
        ("128974848", "128974848"),
        ("0.1", "100m"),
        ("1000k", "1M"),
    ],
)
def test_quantities_are_spelled_as_the_server_does(given, expected):
    """Equal quantities look equal; what is not understood is left alone."""
    assert objects.canonical_quantity(given) == expected


def test_secret_text_becomes_data():
    """stringData is encoded into data and wins over it."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "data": {"a": "b2xk"},
        "stringData": {"a": "new", "b": "x"},
    }

    assert objects.normalize(secret)["data"] == {"a": "bmV3", "b": "eA=="}
    assert "stringData" not in objects.normalize(secret)


def test_unknown_values_are_not_touched():
    """While something is unknown nothing is normalised."""
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": values.UNKNOWN}}

    assert objects.normalize(secret) == secret


def test_crd_keys_are_dashed_for_the_server_and_back_for_programs():
    """The SDK cannot spell dashes; the checkpoint can be read by it again."""
    inputs = {"apiVersion": "x/v1", "kind": "K", "spec": {"x_kubernetes_list_type": "map"}}
    obj = objects.from_inputs(inputs)

    outputs = objects.checkpoint(obj, obj, inputs, "m", "x/v1")

    assert obj["spec"] == {"x-kubernetes-list-type": "map"}
    assert outputs["spec"] == outputs["__inputs"]["spec"] == inputs["spec"]


def test_secret_data_is_always_marked():
    """A Secret's data is secret even when the program did not say so."""
    live = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA=="}}

    outputs = objects.checkpoint(live, live, live, "m", "v1")

    assert values.is_secret(outputs["data"])
    assert values.is_secret(outputs["__inputs"]["data"])


def test_generated_names_are_kept():
    """An object without a name gets one once; generateName is refused."""
    first = objects.with_name({"metadata": {}}, None, "urn:pulumi:d::p::t::web")
    again = objects.with_name({"metadata": {}}, first, "urn:pulumi:d::p::t::web")

    assert objects.name_of(first).startswith("web-")
    assert objects.name_of(again) == objects.name_of(first)
    with pytest.raises(errors.ProviderError, match="generateName"):
        objects.with_name({"metadata": {"generateName": "x"}}, None, "u")
