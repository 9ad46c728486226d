"""What Apps become is the same bytes on every stack: each stack's own options, the operator's plan.

What may differ, by design, is at the edge only: who signs a host's certificate (an Ingress's
annotation and `tls`), and the name that an exposed App has under the stack's own domain.
"""

import argparse
import copy
import dataclasses
import json
from typing import Any

import orjson
import pytest

from bex_operator import api
from bex_operator.api import app as apps
from bex_operator.api import names, status
from bex_operator.controllers import operator_settings
from bex_operator.plan import certificates, claims, releases, workload
from tests.bex_stack import test_substrates as substrates
from tests.support import pulumi_recorder

Manifest = dict[str, Any]

FURTHER: tuple[Manifest, ...] = (
    {"image": "a/b:1", "expose": True, "port": 8080, "replicas": 2, "host": "shop.example.com"},
    {
        "image": "a/b:1",
        "tier": "starter",
        "autoscaling": {"minReplicas": 1, "maxReplicas": 4},
        "env": [{"name": "A", "value": "b"}],
    },
    {"image": "a/b:1", "suspended": True},
    {"image": f"a/b@sha256:{'ab' * 32}", "tier": "pro", "healthCheckPath": "/up"},
)
"""Apps that use what the checked-in ones do not."""


@pytest.fixture(scope="module")
def recordings() -> dict[str, pulumi_recorder.Recording]:
    """Record every stack as it is checked in, with the same apps of images on each."""
    return {
        stack: substrates.record(stack, apps=substrates.SAME_APPS) for stack in substrates.STACKS
    }


def options_of(recording: pulumi_recorder.Recording) -> operator_settings.Settings:
    """Read what a stack tells its operator, as the operator reads it."""
    pod = recording.named("operator-deployment-bex-controller-manager").inputs["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    environment = {each["name"]: each.get("value", "") for each in container["env"]}
    parser = argparse.ArgumentParser()
    for option in operator_settings.OPTIONS:
        option.add(parser, environment)
    return operator_settings.read(parser.parse_args([], argparse.Namespace(leader_elect=False)))


def wanted_on(recording: pulumi_recorder.Recording) -> list[Manifest]:
    """Return the App objects of a stack, and some more, as an API server would have them."""
    found = [
        json.loads(json.dumps(each.inputs), parse_float=_number)
        for each in recording.of_type("kubernetes:app.bex.co/v1alpha1:App")
    ]
    found += [
        {"metadata": {"name": f"further-{number}", "namespace": api.NAMESPACE}, "spec": spec}
        for number, spec in enumerate(FURTHER)
    ]
    for number, each in enumerate(found):
        each["metadata"]["uid"] = f"uid-{number}"
    return found


def understood(manifest: Manifest) -> apps.App:
    """Read an App object as the operator does."""
    spec = {"name": manifest["metadata"]["name"], **manifest["spec"]}
    return apps.App.model_validate_json(orjson.dumps(spec))


def _number(text: str) -> int | float:
    """Pulumi's protocol knows no whole numbers."""
    return int(float(text)) if float(text).is_integer() else float(text)


def become(recording: pulumi_recorder.Recording) -> dict[str, Manifest]:
    """Plan everything that a stack's operator makes of its Apps, by kind and name."""
    told, made = options_of(recording), {}
    for manifest in wanted_on(recording):
        owner = workload.owner_of(manifest)
        wanted = understood(manifest)
        asked = apps.hosts_of(wanted, told.platform.base_domain)
        claimant = claims.Claimant("2026-01-01T00:00:00Z", owner.namespace, owner.name, owner.uid)
        each = [claims.Claim(host, (claimant,), frozenset()) for host in asked]
        granted = claims.settle(owner.uid, each, told.platform).granted
        release = status.Release(number=1, digest=releases.digest(wanted))
        planned = workload.render(wanted, owner, release, granted, told.certificate_issuer)
        for field in dataclasses.fields(planned):
            child = getattr(planned, field.name)
            made[f"{field.name} {owner.name}"] = child
    return made


def without_choices(made: dict[str, Manifest], given: dict[str, set[str]]) -> dict[str, bytes]:
    """Leave out what differs by design; the rest as bytes. *given*: hosts that each App names."""
    found = {}
    for key, manifest in made.items():
        plain = copy.deepcopy(manifest)
        if key.startswith("ingress ") and plain is not None:
            annotations = plain["metadata"].get("annotations", {})
            annotations.pop(certificates.ISSUER_ANNOTATION, None)
            annotations.pop(names.APPLIED_ANNOTATION)  # a digest of all of it
            plain["metadata"]["annotations"] = annotations
            plain["spec"].pop("tls", None)
            named = given[key.removeprefix("ingress ")]
            plain["spec"]["rules"] = [r for r in plain["spec"]["rules"] if r["host"] in named]
        found[key] = orjson.dumps(plain, option=orjson.OPT_INDENT_2)
    return found


def compared(recording: pulumi_recorder.Recording) -> dict[str, bytes]:
    """Plan, and leave out what a stack may choose."""
    given = {
        each["metadata"]["name"]: set(apps.hosts_of(understood(each)))
        for each in wanted_on(recording)
    }
    return without_choices(become(recording), given)


@pytest.mark.parametrize("stack", ["local", "hetzner"])
def test_apps_become_the_same_bytes_as_on_the_embedded_stack(
    recordings: dict[str, pulumi_recorder.Recording], stack: str
) -> None:
    """Deployments, Services, Ingresses, budgets and autoscalers."""
    ours, theirs = compared(recordings["embedded"]), compared(recordings[stack])

    assert len(ours) >= 5 * (2 + len(FURTHER))
    assert first_difference(ours, theirs) == ""


def first_difference(ours: dict[str, bytes], theirs: dict[str, bytes]) -> str:
    """Say where two stacks' objects differ first; empty if nowhere."""
    parsed = [{key: orjson.loads(text) for key, text in side.items()} for side in (ours, theirs)]
    said = substrates.first_difference(*parsed)
    return said or ("" if ours == theirs else "the order of keys")


def test_first_difference_of_what_apps_become_is_named(
    recordings: dict[str, pulumi_recorder.Recording],
) -> None:
    """The comparison above can fail, and says where."""
    ours = compared(recordings["embedded"])
    theirs = {**ours, "service hello": ours["service hello"].replace(b"ClusterIP", b"NodePort")}

    said = first_difference(ours, theirs)
    assert said.startswith("service hello, line ")
    assert '"type": "ClusterIP" != "type": "NodePort"' in said.replace(",", "")


def test_what_differs_by_design_is_at_the_edge(
    recordings: dict[str, pulumi_recorder.Recording],
) -> None:
    """Certificates from Let's Encrypt, from the local authority, or the edge's own."""
    issuers = {stack: options_of(recordings[stack]).certificate_issuer for stack in recordings}
    ingress = become(recordings["hetzner"])["ingress hello"]
    annotation = ingress["metadata"]["annotations"][certificates.ISSUER_ANNOTATION]

    assert issuers == {"embedded": None, "local": "bex-local", "hetzner": "letsencrypt-staging"}
    assert annotation == "letsencrypt-staging"
    assert ingress["spec"]["tls"]
