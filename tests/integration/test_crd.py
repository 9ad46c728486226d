"""The CRD in a real API server: it says and refuses what the Python model says and refuses."""

import copy
import os
import re
from collections.abc import Mapping
from typing import Any

import hypothesis
import pydantic
import pytest
from hypothesis import strategies as st

from bex_operator import api
from bex_operator.kube import client, errors, kinds
from tests.support.apps_cluster import app_manifest, kube, namespace

__all__ = ["kube", "namespace"]

DRAWING = hypothesis.settings(
    max_examples=int(os.environ.get("BEX_DRAWN_APPS", "600")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
    ],
)
NOTHING = st.just(None)


def mostly(usual: st.SearchStrategy[Any], *rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The first a dozen times as often as each of the others; `one_of` counts doubles once."""
    choices = (usual,) * 12 + rare
    return st.integers(0, len(choices) - 1).flatmap(choices.__getitem__)


def texts(*good: str, bad: tuple[str, ...] = ()) -> st.SearchStrategy[Any]:
    """Good values mostly, known bad ones, and whatever else comes to mind."""
    noise = st.text(alphabet="aZ9-_./:@ %*\n\tü\u20ac{}'\"\\", max_size=12)
    known_bad = st.sampled_from([*bad, *good])
    return mostly(st.sampled_from(good), known_bad, known_bad, noise)


def odd(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Now and then a value of a wrong type, or null."""
    wrong = st.sampled_from([None, True, 7, 1.5, "x", [], {}, ["a"], {"a": 1}])
    return mostly(value, wrong)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with all of the fields or any of them, and rarely one that nobody knows."""
    given = {name: odd(value) for name, value in fields.items()}
    any_of_them = st.fixed_dictionaries({}, optional=given)
    chosen = mostly(st.fixed_dictionaries(given), any_of_them, any_of_them, any_of_them)
    unknown = st.sampled_from([{}] * 40 + [{"replicaz": 3}, {"name": "x"}, {"Image": "a"}])
    return st.tuples(chosen, unknown).map(lambda pair: {**pair[0], **pair[1]})


NUMBERS = mostly(
    st.sampled_from([1, 2, 80, 100]),
    *[st.sampled_from([-1, 0, 101, 300, 301, 65535, 65536, 2**31, 2**40])] * 3,
)
SECRET = texts("secret", "a.b-c", "x" * 253, bad=("", "Secret", "-a", "a..b", "x" * 254, "a_b"))
HOST = texts(
    "a.example.com",
    "A.Example.Com.",
    "xn--bcher-kva.example",
    f"{'a' * 63}.b",
    "1.2.3.x4",
    "*.a.b",
    "*.A.b.",
    bad=(
        "localhost",
        "1.2.3.4",
        "*.b",
        "*",
        "a.*.b",
        "*.*.a.b",
        "*a.b.c",
        "a..b",
        f"{'a' * 64}.b",
        "bücher.de",
        "-a.b",
        "a-.b",
        "a.b\n",
    ),
)
PATH = texts(
    ".",
    "a",
    "a/b/",
    "./a",
    ".github/x",
    "a..b",
    "a-b_c.d",
    bad=("..", "/a", "a/../b", "a//b", "-x", "a b", "", "../a", "a/.."),
)
GLOB = texts(
    ".",
    "a/**/*.md",
    "*.go",
    "a?/b",
    ".github/**",
    "a/",
    bad=("..", "/a", "a/../b", "a//b", "a b", "", "{a,b}", "[ab]", "a/.."),
)
ENV_NAME = texts("A", "_a.b-c", "PORT", bad=("", "9A", "A=B", "A B"))
ENV_VALUE = texts("", "x", "y z")
ENV_KEY = some(name=SECRET, key=texts("k", "a.b_c-D", bad=("", "a/b")))
ENV = st.one_of(
    some(name=ENV_NAME, value=ENV_VALUE),
    some(name=ENV_NAME, valueFrom=some(secretKeyRef=ENV_KEY)),
    some(name=ENV_NAME, value=ENV_VALUE, valueFrom=some(secretKeyRef=ENV_KEY)),
)
AMOUNTS = some(
    cpu=texts(
        "1", "250m", "0.5", "1.125", "0", bad=("1.1234", "-1", "1k", "m", ".5", "1000000m", "1e3")
    ),
    memory=texts("1", "512Mi", "1G", "2Ti", "0", bad=("1.5Gi", "-1", "1m", "1mi", "1Ei", "1 Gi")),
)
ARGUMENTS = st.lists(odd(texts("a", "", "-x y")), max_size=3)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "image": texts(
        "a",
        "localhost:5050/bex/hello-go:1",
        "traefik/whoami",
        "ghcr.io/a/b__c/d-e:v1.2@sha256:" + "a" * 64,
        "x:" + "t" * 128,
        bad=(
            "",
            "A",
            "a b",
            "a:",
            "a@sha256:abc",
            "http://a/b",
            "a//b",
            "x:" + "t" * 129,
            "a:b:c",
            "a\n",
        ),
    ),
    "repo": texts(
        "https://github.com/a/b",
        "https://host:8443/a/b.git",
        "ssh://git@host/a",
        "git@host:a/b.git",
        bad=(
            "http://a/b",
            "file:///etc",
            "https://u:p@h/a",
            "--upload-pack=x",
            "git@host",
            "https://h",
            "ext::sh",
        ),
    ),
    "branch": texts(
        "main", "feature/a-b_c", "v1.2.3", "a--b", bad=("-x", "a..b", "a/", "a b", "", "@{", "a.")
    ),
    "rootDir": PATH,
    "dockerfilePath": PATH,
    "dockerContext": PATH,
    "builder": texts("auto", "buildpack", "dockerfile", "native", bad=("docker", "")),
    "buildFilter": some(
        paths=st.lists(odd(GLOB), max_size=3), ignoredPaths=st.lists(odd(GLOB), max_size=3)
    ),
    "cloneSecret": SECRET,
    "port": NUMBERS,
    "replicas": NUMBERS,
    "command": ARGUMENTS,
    "args": ARGUMENTS,
    "env": st.lists(odd(ENV), max_size=2),
    "envFromSecret": SECRET,
    "healthCheckPath": texts("/", "/healthz?x=1", bad=("", "x", "/a b", "/ü")),
    "tier": texts("free", "pro-ultra", bad=("Free", "huge", "")),
    "resources": some(requests=AMOUNTS, limits=AMOUNTS),
    "host": HOST,
    "hosts": st.lists(odd(HOST), max_size=3),
    "expose": st.booleans(),
    "autoscaling": some(minReplicas=NUMBERS, maxReplicas=NUMBERS, targetCPUPercent=NUMBERS),
    "suspended": st.booleans(),
    "restartedAt": texts(
        "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5+01:00", bad=("now", "", "2026-01-31")
    ),
    "maxShutdownDelaySeconds": NUMBERS,
    "preDeployCommand": ARGUMENTS,
    "runAsUser": NUMBERS,
    "idleTTLSeconds": st.one_of(NUMBERS, st.sampled_from([604800, 604801])),
}
UNKNOWN = mostly(st.just({}), st.sampled_from([{}, {"replicaz": 3}, {"name": "x"}, {"Image": "a"}]))
NAME = texts("web", "a", "a" * 63, bad=("9a", "a" * 64, "a.b", "-a", "a-", "A"))


GIT = {"branch", "rootDir", "dockerfilePath", "dockerContext", "builder"}
GIT |= {"buildFilter", "cloneSecret", "repo"}


def whole(chosen: dict[str, Any], unknown: dict[str, Any], careless: int) -> dict[str, Any]:
    """Add what the fields need to be taken, mostly."""
    chosen = chosen | unknown
    if careless == 0:
        return chosen
    if "autoscaling" in chosen and careless > 2 and "resources" not in chosen:
        chosen["tier"] = "pro"
    if GIT & set(chosen):
        return {"repo": "https://example.com/a/b", **chosen}
    return {"image": "a/b:1", **chosen}


def few(kept: set[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Only these fields, so that one mistake does not always hide behind another."""
    chosen = st.fixed_dictionaries({name: odd(FIELDS[name]) for name in sorted(kept)})
    return st.builds(whole, chosen, UNKNOWN, st.integers(0, 5))


SPECS = st.sets(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=4).flatmap(few)


def python_refusal(manifest: dict[str, Any]) -> str | None:
    """What the model says against the App; None if it takes it."""
    try:
        api.App.from_manifest(manifest)
    except pydantic.ValidationError as refused:
        return str(refused)
    return None


async def server_refusal(kube: client.Client, manifest: dict[str, Any]) -> str | None:
    """What the API server says against the App; None if it takes it."""
    try:
        await kube.create(manifest, field_manager="test", dry_run=True)
    except (errors.Invalid, errors.BadRequest) as refused:
        return refused.message
    return None


def fields_of_schema(schema: Mapping[str, Any], path: str = "") -> set[str]:
    """Every field of a schema, those within others too, as `env[].value`."""
    found = fields_of_schema(schema["items"], f"{path}[]") if "items" in schema else set()
    for name, inner in schema.get("properties", {}).items():
        whole = f"{path}.{name}".removeprefix(".")
        found |= {whole} | fields_of_schema(inner, whole)
    return found


def fields_of(value: Any, path: str = "") -> set[str]:
    """Every field that a spec has, written likewise."""
    found: set[str] = set()
    for inner in value if isinstance(value, list) else ():
        found |= fields_of(inner, f"{path}[]")
    for name, inner in value.items() if isinstance(value, dict) else ():
        whole = f"{path}.{name}".removeprefix(".")
        found |= {whole} | fields_of(inner, whole)
    return found


def schema_of_spec() -> Mapping[str, Any]:
    """The schema of an App's spec, as the API server is given it."""
    (version,) = api.crd()["spec"]["versions"]
    found: Mapping[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


@pytest.mark.parametrize("field", sorted(fields_of_schema(schema_of_spec())))
def test_field_is_drawn_in_apps_that_are_taken(field: str) -> None:
    """Those within others too: to agree in refusing nonsense would be little."""

    def holds(spec: dict[str, Any]) -> bool:
        manifest = app_manifest("default") | {"spec": copy.deepcopy(spec)}
        return field in fields_of(spec) and python_refusal(manifest) is None

    first = hypothesis.settings(DRAWING, phases=[hypothesis.Phase.generate])
    hypothesis.find(few({re.split(r"\W", field)[0]}), holds, settings=first)


@DRAWING
@hypothesis.given(spec=SPECS, name=st.one_of(st.just("web"), st.just("web"), NAME))
async def test_model_and_api_server_agree(
    kube: client.Client, spec: dict[str, Any], name: str
) -> None:
    """Of generated Apps, good and bad, both take the same."""
    manifest = app_manifest("default")
    manifest["metadata"]["name"], manifest["spec"] = name, spec

    by_model = python_refusal(copy.deepcopy(manifest))
    by_server = await server_refusal(kube, manifest)

    assert (by_model is None) == (by_server is None), (by_model, by_server)


RULES = (
    ({"image": None}, "exactly one of image and repo is needed"),
    ({"branch": "main"}, "branch, rootDir, dockerfilePath, dockerContext, builder, buildFilter"),
    ({"tier": "free", "resources": {}}, "tier and resources exclude each other"),
    ({"host": "localhost"}, "must be a full host name of at least two labels"),
    ({"hosts": ["*.b"]}, "must be a full host name of at least two labels"),
    ({"host": "b\u00fccher.example"}, "international names in punycode"),
    ({"autoscaling": {"maxReplicas": 3}}, "autoscaling needs a tier, or resources that set CPU"),
    (
        {"autoscaling": {"maxReplicas": 3}, "resources": {"limits": {"cpu": "0.0"}}},
        "autoscaling needs a tier, or resources that set CPU",
    ),
    (
        {"autoscaling": {"minReplicas": 4, "maxReplicas": 3}, "tier": "pro"},
        "minReplicas must be at most maxReplicas",
    ),
    ({"image": "Not An Image"}, "must be an image reference"),
    ({"port": 0}, "should be greater than or equal to 1"),
    ({"replicas": 101}, "should be less than or equal to 100"),
    ({"env": [{"name": "A"}]}, "exactly one of value and valueFrom is needed"),
)


@pytest.mark.parametrize(
    ("spec", "words"), RULES, ids=[f"{next(iter(r[0]))}-{n}" for n, r in enumerate(RULES)]
)
async def test_both_refuse_with_the_same_words(
    kube: client.Client, spec: dict[str, Any], words: str
) -> None:
    """What kubectl shows is what the Python module shows."""
    manifest = app_manifest("default")
    manifest["spec"] = {k: v for k, v in {**manifest["spec"], **spec}.items() if v is not None}

    assert words in str(python_refusal(manifest))
    assert words in str(await server_refusal(kube, manifest))


async def test_columns_are_those_people_want(kube: client.Client, namespace: str) -> None:
    """`kubectl get apps` shows phase, revision, URL, readiness and age; `-o wide` the repo."""
    table = await kube.request(
        "GET",
        kinds.APP.path(namespace),
        headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"},
    )

    columns = [(each["name"], each["priority"]) for each in table["columnDefinitions"]]
    assert columns == [
        ("Name", 0),
        ("Phase", 0),
        ("Revision", 0),
        ("URL", 0),
        ("Ready", 0),
        ("Age", 0),
        ("Repo", 1),
    ]


async def test_crd_is_accepted_as_structural(kube: client.Client) -> None:
    """The API server has nothing against the schema."""
    name = api.crd()["metadata"]["name"]
    found = await kube.get(kinds.CUSTOM_RESOURCE_DEFINITION, name)

    truths = {each["type"]: each["status"] for each in found["status"]["conditions"]}
    assert truths["Established"] == "True"
    assert truths["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in truths
    assert found["status"]["acceptedNames"]["shortNames"] == ["bx"]


async def test_every_field_explains_itself(kube: client.Client) -> None:
    """`kubectl explain` has a sentence for every field of spec and status."""
    openapi = await kube.request("GET", "/openapi/v3/apis/app.bex.co/v1alpha1")
    schema = openapi["components"]["schemas"]["co.bex.app.v1alpha1.App"]

    def silent(node: dict[str, Any], path: str) -> list[str]:
        found = [] if node.get("description") or path.endswith("[]") else [path]
        for name, each in node.get("properties", {}).items():
            found += silent(each, f"{path}.{name}")
        return found + (silent(node["items"], f"{path}[]") if "items" in node else [])

    assert silent(schema["properties"]["spec"], "spec") == []
    assert silent(schema["properties"]["status"], "status") == []


async def test_defaults_are_the_models(kube: client.Client, namespace: str) -> None:
    """What the API server fills in is what the model would."""
    made = await kube.create(app_manifest(namespace), field_manager="test")

    assert made["spec"] == {
        "image": "example.com/web:1",
        "port": 3000,
        "replicas": 1,
        "expose": False,
        "suspended": False,
        "maxShutdownDelaySeconds": 30,
    }


async def test_scale_subresource_reads_and_writes_replicas(
    kube: client.Client, namespace: str
) -> None:
    """`kubectl scale app` works on spec.replicas."""
    await kube.create(app_manifest(namespace), field_manager="test")

    await kube.patch(kinds.APP, "web", namespace, {"spec": {"replicas": 4}}, subresource="scale")

    assert (await kube.get(kinds.APP, "web", namespace))["spec"]["replicas"] == 4
