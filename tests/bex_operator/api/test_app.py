"""The App model: what it takes, what it refuses and how it says so."""

import time
from typing import Any

import pydantic
import pytest

from bex_operator import api
from bex_operator.api import app as app_model
from bex_operator.plan import releases


def refusal(**fields: Any) -> str:
    """What the model says against an App with these fields."""
    with pytest.raises(pydantic.ValidationError) as caught:
        api.App(**{"name": "web", "image": "a/b:1", **fields})
    return app_model.describe(caught.value)


def test_manifest_holds_only_what_was_said() -> None:
    """Defaults are left to the API server, so that nobody owns what nobody set."""
    app = api.App(
        name="web", image="a/b:1", health_check_path="/up", env=[{"name": "A", "value": ""}]
    )

    assert app.manifest("apps") == {
        "apiVersion": "app.bex.co/v1alpha1",
        "kind": "App",
        "metadata": {
            "name": "web",
            "namespace": "apps",
            "finalizers": ["app.bex.co/finalizer"],
        },
        "spec": {
            "image": "a/b:1",
            "healthCheckPath": "/up",
            "env": [{"name": "A", "value": ""}],
        },
    }


def test_manifest_reads_back_as_the_same_app() -> None:
    """What is written is what is read, defaults and all."""
    app = api.App(name="web", repo="https://h/a", branch="b", hosts=["a.b"], tier="pro", args=["x"])

    assert api.App.from_manifest(app.manifest("apps")) == app


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"replicaz": 3}, "spec.replicaz '3': unknown field; did you mean 'replicas'?"),
        ({"port": "80"}, "spec.port '80': Input should be a valid integer"),
        ({"port": 0}, "spec.port '0': Input should be greater than or equal to 1"),
        ({"name": "Web"}, "metadata.name 'Web': must start with a lower-case letter"),
        (
            {"env": [{"name": "A", "vale": "x"}]},
            "spec.env.0.vale 'x': unknown field; did you mean 'value'?",
        ),
        ({"tier": "big"}, "spec.tier 'big': Input should be 'free'"),
        ({"hosts": ["a.b", "a.b"]}, "spec.hosts: Duplicate value: 'a.b'"),
        (
            {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
            "requests.cpu must be at most",
        ),
    ],
    ids=["unknown", "type", "bound", "name", "nested", "enum", "twice", "relation"],
)
def test_refusal_names_field_value_and_rule(fields: dict[str, Any], words: str) -> None:
    """A person can mend the definition from the message alone."""
    assert words in refusal(**fields)


def test_many_mistakes_are_told_in_one_line() -> None:
    """Three are shown, the others counted."""
    told = refusal(port=0, replicas=-1, tier="x", host="y", suspended=3)

    assert told.count(";") >= 3
    assert told.endswith("and 2 more")


def test_null_counts_as_absent() -> None:
    """As for the API server, which drops null before it stores anything."""
    manifest = api.App(name="web", image="a/b:1").manifest("apps")
    manifest["spec"] |= {"port": None, "env": None, "resources": {"limits": None}}

    assert api.App.from_manifest(manifest).port == 3000


def test_spec_field_name_is_unknown() -> None:
    """The name stands in metadata; one in the spec must not slip through."""
    manifest = api.App(name="web", image="a/b:1").manifest("apps")
    manifest["spec"]["name"] = "other"

    with pytest.raises(pydantic.ValidationError, match="unknown field"):
        api.App.from_manifest(manifest)


def test_hosts_are_folded_and_each_once() -> None:
    """Case and a trailing dot make no other host; the main one is first."""
    app = api.App(
        name="web", image="a", host="B.example.com.", hosts=["a.example.com", "b.example.com"]
    )

    assert api.hosts_of(app) == ("b.example.com", "a.example.com")


def test_app_is_frozen() -> None:
    """A definition does not change after it was checked."""
    app = api.App(name="web", image="a")

    with pytest.raises(pydantic.ValidationError):
        app.port = 80


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({"tier": "free"}, True),
        ({"resources": {"requests": {"cpu": "1m"}}}, True),
        ({"resources": {"limits": {"cpu": "0.001"}}}, True),
        ({"resources": {"requests": {"cpu": "0"}, "limits": {"cpu": "1"}}}, False),
        ({"resources": {"limits": {"memory": "1Gi"}}}, False),
        ({}, False),
    ],
    ids=["tier", "request", "limit", "zero", "memory", "nothing"],
)
def test_autoscaling_needs_cpu_to_measure(fields: dict[str, Any], taken: bool) -> None:
    """How busy replicas are is counted in what is set aside for them."""
    spec = {"autoscaling": {"max_replicas": 3}, **fields}

    if taken:
        assert api.App(name="web", image="a", **spec).autoscaling is not None
    else:
        assert "autoscaling needs a tier" in refusal(**spec)


@pytest.mark.parametrize("text", ["a" + "-" * 3000 + "!", "a" + "./" * 900, "a" + "_" * 250 + "!"])
@pytest.mark.parametrize("field", ["image", "repo", "branch", "root_dir", "host", "clone_secret"])
def test_crafted_text_is_refused_quickly(field: str, text: str) -> None:
    """No pattern may be driven into exponential time."""
    limit = {"image": 512, "repo": 2048, "branch": 255, "root_dir": 512}.get(field, 253)
    began = time.process_time()

    refusal(**{"image": None, "repo": "https://h/a", field: text[: limit - 1] + "!"})

    assert time.process_time() - began < 5  # exponential time would be years


def test_every_field_is_runtime_operational_or_source() -> None:
    """A new field must say whether changing it restarts the App."""
    classes = [releases.RUNTIME_FIELDS, releases.OPERATIONAL_FIELDS, releases.SOURCE_FIELDS]

    assert sorted(api.App.model_fields) == sorted(field for each in classes for field in each)
