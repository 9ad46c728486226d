"""The settings of a stack."""

import pytest

from bex_stack import errors, settings, settings_models

FILE = "Pulumi.test.yaml"
GOOD = {"bex:provider": "embedded"}


def test_defaults_describe_two_workers_and_every_app() -> None:
    """Only the provider has to be named."""
    stack = settings.parse(GOOD, source=FILE)

    assert (stack.workers, stack.machines, stack.apps) == (2, "real", ("*",))
    assert (stack.edge_http_port, stack.edge_https_port, stack.registry_port) == (8080, 8443, 5050)


def test_texts_become_numbers_and_lists() -> None:
    """Pulumi hands a program texts; numbers and lists are JSON inside them."""
    stack = settings.parse({**GOOD, "bex:workers": "3", "bex:apps": '["a","!b"]'}, source=FILE)

    assert stack.workers == 3
    assert stack.apps == ("a", "!b")


def test_images_of_buildpacks_are_paketos_or_named() -> None:
    """A builder may be left to name what its images stand on."""
    builder = f"example.com/builder@sha256:{'0' * 64}"
    given = {**GOOD, "bex:buildpackBuilder": builder, "bex:buildpackRunImage": ""}
    named, default = (settings.parse(each, source=FILE) for each in (given, GOOD))
    assert isinstance(named, settings_models.EmbeddedSettings)
    assert isinstance(default, settings_models.EmbeddedSettings)

    assert (named.buildpacks.builder, named.buildpacks.run_image) == (builder, "")
    assert "/paketobuildpacks/" in default.buildpacks.builder


def test_settings_of_other_namespaces_are_left_alone() -> None:
    """A stack file may configure providers too."""
    assert settings.parse({**GOOD, "kubernetes:namespace": "x"}, source=FILE).workers == 2


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("bex:workerz", "2", "is not a setting of this provider"),
        ("bex:workers", "many", "valid integer"),
        ("bex:workers", "51", "less than or equal to 50"),
        ("bex:edgeHttpPort", "0", "greater than or equal to 1"),
        ("bex:registryPort", "8080", "not all different"),
        ("bex:buildpackBuilder", "example.com/builder:1", "must be given by digest"),
        ("bex:buildpackBuilder", "", "must be given by digest"),
        ("bex:buildpackRunImage", "example.com/run@sha256:1", "must be given by digest"),
        ("bex:machines", "cloud", "'real' or 'simulated'"),
        ("bex:network", "10.90.0.0/33", "/33"),
        ("bex:podNetwork", "10.90.0.0/16", "overlaps"),
        ("bex:instance", "Bex!", "pattern"),
        ("bex:provider", "aws", "must be one of: embedded"),
    ],
)
def test_bad_setting_is_refused_with_file_key_and_rule(key: str, value: str, rule: str) -> None:
    """The message names the stack file, the key and the rule it broke."""
    with pytest.raises(errors.BadSettings) as refused:
        settings.parse({**GOOD, key: value}, source=FILE)

    assert FILE in str(refused.value)
    assert rule in str(refused.value)


def test_missing_provider_is_refused() -> None:
    """A stack file without a provider says which there are."""
    with pytest.raises(errors.BadSettings, match="bex:provider is None"):
        settings.parse({}, source=FILE)


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (("*",), ("a", "b", "web-1")),
        (("*", "!b"), ("a", "web-1")),
        (("web-*",), ("web-1",)),
        (("b", "a"), ("a", "b")),
        ((), ()),
        (("*", "!gone"), ("a", "b", "web-1")),
    ],
)
def test_apps_are_chosen_by_name_and_pattern(
    patterns: tuple[str, ...], chosen: tuple[str, ...]
) -> None:
    """Patterns add, `!` takes away, and the order is that of the definitions."""
    assert settings.select_apps(patterns, ["a", "b", "web-1"], source=FILE) == chosen


def test_app_named_by_the_stack_must_exist() -> None:
    """A plain name nobody defines is a slip, not a removal."""
    with pytest.raises(errors.BadSettings, match="'helo', which no module in apps/ defines"):
        settings.select_apps(("helo",), ["hello"], source=FILE)
