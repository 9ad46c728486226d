"""The settings of the stacks whose machines Cluster API makes, and their declaration."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bex_stack import errors, settings, settings_models, settings_schema, stack_files

ROOT = Path(__file__).parents[2]
FILE = "Pulumi.test.yaml"
CAPD = {"bex:provider": "capd"}
CAPH = {"bex:provider": "caph", "bex:location": "fsn1"}


@pytest.mark.parametrize("stack", ["embedded", "local", "hetzner"])
def test_stack_files_of_the_project_are_in_order(stack: str) -> None:
    """What is checked in can be previewed."""
    file = ROOT / f"Pulumi.{stack}.yaml"

    assert settings.parse(stack_files.read_config(file), source=file.name).provider


def test_project_file_declares_every_setting_as_the_models_do() -> None:
    """`python -m bex_stack.settings_schema` writes it anew."""
    text = settings_schema.PROJECT_FILE.read_text()

    assert settings_schema.render(text) == text


def test_every_setting_has_a_description_and_all_but_the_provider_a_default() -> None:
    """Pulumi requires a declared key without a default of every stack."""
    declared = settings_schema.declarations()

    assert all(entry["description"] for entry in declared.values())
    assert [key for key, entry in declared.items() if "default" not in entry] == ["bex:provider"]


def test_one_key_has_one_default_for_every_provider() -> None:
    """Pulumi.yaml has room for one, and hands it to every stack."""
    found: dict[str, set[str]] = {}
    for provider in settings_models.PROVIDERS:
        for field in settings.model_of(provider).model_fields.values():
            if not field.is_required():
                found.setdefault(str(field.alias), set()).add(repr(field.default))

    assert {key: values for key, values in found.items() if len(values) > 1} == {}


@pytest.mark.parametrize("checked", [True, False], ids=["by-bex", "by-the-cli"])
@pytest.mark.parametrize("provider", ["embedded", "capd", "caph"])
def test_defaults_that_pulumi_adds_for_other_providers_are_no_mistake(
    provider: str, checked: bool
) -> None:
    """Every declared default is handed to the program; the settings stay the same."""
    own = {"bex:provider": provider, **({"bex:location": "fsn1"} if provider == "caph" else {})}
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    given = {key: entry["default"] for key, entry in declared.items() if "default" in entry}
    added = {key: _text(value) for key, value in given.items()}

    found = settings.parse(
        settings.without_defaults_of_others({**added, **own}, checked=checked), source=FILE
    )

    assert found == settings.parse(own, source=FILE)


def test_value_for_another_provider_is_refused_all_the_same() -> None:
    """Only the very default is let through."""
    given = settings.without_defaults_of_others({**CAPD, "bex:location": "nbg1"}, checked=False)

    with pytest.raises(errors.BadSettings, match="bex:location is not a setting of this provider"):
        settings.parse(given, source=FILE)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({**CAPD, "bex:controlPlanes": "2"}, "must be 1, 3, 5 or 7"),
        ({**CAPD, "bex:workersMin": "3", "bex:workersMax": "2"}, "must not exceed the most"),
        ({**CAPD, "bex:kubernetesVersion": "1.36"}, "pattern"),
        ({**CAPD, "bex:kubernetesVersion": "v1.20.0"}, "one that kind has an image for"),
        ({**CAPD, "bex:clusterApi": "existing"}, "bex:infraKubeconfig go together"),
        ({**CAPD, "bex:infraKubeconfig": "kubeconfig"}, "bex:infraKubeconfig go together"),
        ({**CAPD, "bex:mirror": '["registry"]'}, "[REGISTRY, FOLDER]"),
        ({**CAPD, "bex:podNetwork": "10.96.0.0/12"}, "overlap"),
        ({**CAPD, "bex:edgeHttpPort": "5050"}, "must differ"),
        ({**CAPD, "bex:cni": "flannel"}, "'calico', 'cilium' or 'none'"),
        ({"bex:provider": "caph"}, "bex:location must be set"),
        ({**CAPH, "bex:location": "mars"}, "'fsn1'"),
        ({**CAPH, "bex:workerServerType": "cax11"}, "no x86 server type"),
        ({**CAPH, "bex:largestTier": "pro-plus"}, "cx33 leaves 7 GiB for apps"),
        ({**CAPH, "bex:fallbackLocation": "fsn1"}, "bex:location is already"),
        ({**CAPH, "bex:fallbackLocation": "ash"}, "cannot span both"),
        ({**CAPH, "bex:adminAddresses": '["me"]'}, "does not appear to be"),
        ({**CAPH, "bex:operatorImage": "bex:latest"}, "NAME@sha256:"),
        ({**CAPH, "bex:acmeIssuer": "production"}, "bex:acmeEmail must be set"),
        ({**CAPH, "bex:registryPort": "5050"}, "is not a setting of this provider"),
    ],
)
def test_impossible_stack_is_refused_with_file_and_rule(given: dict[str, str], rule: str) -> None:
    """Everything that cannot work is said before anything is touched."""
    with pytest.raises(errors.BadSettings) as refused:
        settings.parse(given, source=FILE)

    assert FILE in str(refused.value)
    assert rule in str(refused.value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def test_registry_of_ones_own_needs_an_operator_image() -> None:
    """Nothing is pushed to it, so nothing could be built for it."""
    with pytest.raises(errors.BadSettings, match="bex:operatorImage must be set"):
        settings.parse({**CAPD, "bex:registryUrl": "http://registry.lan:5000"}, source=FILE)


@pytest.mark.parametrize("url", ["registry.lan:5000", "http://registry.lan/v2", "ftp://registry"])
def test_registry_url_is_scheme_and_host(url: str) -> None:
    """It becomes a line of containerd's configuration on every machine."""
    given = {**CAPD, "bex:registryUrl": url, "bex:operatorImage": "localhost:5050/bex/operator:1"}
    with pytest.raises(errors.BadSettings, match="bex:registryUrl"):
        settings.parse(given, source=FILE)
