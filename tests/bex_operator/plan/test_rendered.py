"""Whole objects as they are rendered, against files that people can read.

Run as a program it writes the files: what changed is then in the diff.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bex_operator import api
from bex_operator.api import status
from bex_operator.plan import artefacts, build_jobs, predeploy, workload

FOLDER = Path(__file__).parent / "rendered"
OWNER = workload.Owner("web", "apps", "uid-1")
RELEASE = status.Release(number=3, digest="d1")
Objects = list[Mapping[str, Any]]

PLAIN = api.App(name="web", image="example.com/web:1")
EVERYTHING: dict[str, Any] = {
    "name": "web",
    "image": "example.com/web@sha256:" + "0" * 64,
    "port": 8080,
    "replicas": 2,
    "env": [
        {"name": "EMPTY", "value": ""},
        {"name": "LEVEL", "value": "info"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "settings", "key": "key"}}},
        {"name": "PORT", "value": "1"},
    ],
    "envFromSecret": "settings",
    "healthCheckPath": "/healthz",
    "tier": "starter",
    "command": ["./serve"],
    "args": ["--all"],
    "maxShutdownDelaySeconds": 45,
    "preDeployCommand": ["./migrate", "--all"],
    "autoscaling": {"minReplicas": 2, "maxReplicas": 5, "targetCPUPercent": 70},
    "runAsUser": 1000,
}
FULL = api.App(**EVERYTHING)
PARKED = api.App(**EVERYTHING, suspended=True)


def of_app(app: api.App, *hosts: str, issuer: str | None = None) -> Objects:
    """Everything an App becomes, in a fixed order."""
    made = workload.render(app, OWNER, RELEASE, hosts, issuer)
    found = (made.deployment, made.service, made.ingress, made.budget, made.autoscaler)
    return [each for each in found if each is not None]


def of_build(order: build_jobs.Order, platform: build_jobs.Platform) -> Objects:
    """The Job of a build and the Secret beside it."""
    job = build_jobs.render(order, platform)
    return [job, build_jobs.render_secret(order, platform, now=1_800_000_000)]


REGISTRY = build_jobs.Registry("registry.internal:5050", "localhost:5050", key=b"k" * 32)
PLATFORM = build_jobs.Platform("bex-builds", "example.com/builder:1", REGISTRY)
REPOSITORY = artefacts.source_of(api.App(name="web", repo="https://git.example.com/a/web"))
assert isinstance(REPOSITORY, artefacts.Repository)
ORDER = build_jobs.Order("web-0123", "web", "apps", "uid-1", REPOSITORY, "c" * 40, "main")
MIRRORING = build_jobs.Registry(
    REGISTRY.endpoint, REGISTRY.known_as, ("docker.io", "ghcr.io"), REGISTRY.key
)
INNER = build_jobs.Platform(
    PLATFORM.namespace,
    PLATFORM.image,
    MIRRORING,
    inner=("10.0.0.0/8", "192.168.0.0/16"),
    authority="PEM",
    memory="5Gi",
)
PRIVATE = build_jobs.Order(
    *(ORDER.job, ORDER.app, ORDER.namespace, ORDER.uid, REPOSITORY, ORDER.commit, "topic"),
    clear_cache=True,
    credentials={"token": "token"},
)
BY_BUILDPACKS = build_jobs.Order(
    *("web-0123", "web", "apps", "uid-1", dataclasses.replace(REPOSITORY, builder="buildpack")),
    *(ORDER.commit, "main"),
)
SCANNING = build_jobs.Platform(
    PLATFORM.namespace, PLATFORM.image, REGISTRY, scanner="example.com/scanner:1"
)
FARMED = build_jobs.Platform(
    PLATFORM.namespace,
    PLATFORM.image,
    REGISTRY,
    run_image="localhost:5050/bex/run@sha256:" + "1" * 64,
    scanner="example.com/scanner:1",
    runtime_class="bex-builds",
    node_selector={"bex.co/pool": "builds"},
    taint="bex.co/builds",
)
FILTERED = dataclasses.replace(
    ORDER,
    source=dataclasses.replace(REPOSITORY, paths=("web/**",), ignored_paths=("**/*.md",)),
    base_scope="s1",
    machine="m1",
)
UNLISTED = build_jobs.Platform(
    PLATFORM.namespace, PLATFORM.image, REGISTRY, run_image=FARMED.run_image
)
QUESTION = build_jobs.Question(
    "ssh://git@git.example.com/a/web", "apps", {"key": "KEY", "known-hosts": "HOSTS"}
)

CASES: dict[str, Callable[[], Objects]] = {
    "app-plain": lambda: of_app(PLAIN),
    "app-full": lambda: of_app(FULL, "web.example.com", "*.b.example.com", issuer="staging"),
    "app-parked": lambda: of_app(PARKED, "web.example.com"),
    "pre-deploy": lambda: [predeploy.render(FULL, OWNER, RELEASE)],
    "build-plain": lambda: of_build(ORDER, PLATFORM),
    "build-private": lambda: of_build(PRIVATE, INNER),
    "build-buildpack": lambda: of_build(BY_BUILDPACKS, SCANNING),
    "build-filtered": lambda: of_build(FILTERED, FARMED),
    "build-unlisted": lambda: of_build(
        dataclasses.replace(BY_BUILDPACKS, clear_cache=True), UNLISTED
    ),
    "build-question": lambda: list(build_jobs.render_question(QUESTION, ["main"], INNER)),
}


@pytest.mark.parametrize("case", CASES)
def test_objects_are_as_written_down(case: str) -> None:
    """Field for field; run as a program this writes them anew."""
    written = (FOLDER / f"{case}.yaml").read_text()

    assert list(yaml.safe_load_all(written)) == CASES[case]()


if __name__ == "__main__":
    for name, render in CASES.items():
        plain = yaml.safe_dump_all(render(), sort_keys=False)
        (FOLDER / f"{name}.yaml").write_text(plain)
