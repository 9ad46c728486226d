"""The steps of a build by Cloud Native Buildpacks, between resolving and pushing. Pure.

The lifecycle's phases run one by one in the builder's image, instead of all in its `creator`: so
those that run buildpacks and what the repository makes them run hold no credential, and find none.
Source: Platform Interface Specification 0.13 of the Cloud Native Buildpacks.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bex_operator.plan import artefacts, build_steps
from bex_operator.plan.build_steps import Manifest

VOLUMES: Mapping[str, str] = {
    "source": "2Gi",
    "objects": "2Gi",
    "plan": "8Mi",
    "program": "128Mi",
    "workspace": "2Gi",
    "layers": "8Gi",
    "notes": "8Mi",
    "scratch": "4Gi",
    "tmp": "4Gi",
    "report": "8Mi",
    "contents": "256Mi",
}
"""Volumes between the steps, and how large each may become."""
PROGRAM = "/program/bex-build"
"""Our own program, where steps in images of others find it."""
_PRIVATE = tuple(
    ipaddress.IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
"""Source: RFC 1918; the lifecycle's library for registries knows just these."""
_ADDRESS = re.compile(r"[0-9]+([.][0-9]+){3}")
PLATFORM_API = "0.13"
_TEMPORARY = "/tmp"  # noqa: S108 - a volume of the step's
_LIFECYCLE = "/cnb/lifecycle"
_ANALYZED, _GROUP, _PLAN = "/notes/analyzed.toml", "/notes/group.toml", "/notes/plan.toml"
REPORT = "/report/report.toml"
CONTENTS = "/contents"
"""Where lists of what is in the image are left."""
PUSHED_FROM = {"report": "ro", "contents": "ro"}
"""What the step reads that puts labels on the exported image, and statements beside it."""

_AS_THE_IMAGE_SAYS: Manifest = {
    key: value
    for key, value in build_steps.CONFINED.items()
    # Of a builder's image user and group are known to its buildpacks; root it must not be.
    if key not in {"runAsUser", "runAsGroup"}
}


@dataclass(frozen=True, slots=True)
class Phases:
    """What the phases are told."""

    builder: str
    """The builder's image, by digest."""
    run_image: str
    """What built images stand on, as pods reach it; empty: what the builder names."""
    endpoint: str
    """HOST:PORT of the registry."""
    image: str
    """Where the image is exported to."""
    cache: str
    memory: str
    scanner: str = ""
    clear_cache: bool = False


def refusal(endpoint: str) -> artefacts.Failed | None:
    """Say why nothing can be built with the registry at *endpoint*; None if it can.

    What the lifecycle is told of plain http counts for images, and not for its cache.
    """
    host = endpoint.rpartition(":")[0]
    if host == "localhost":
        return None
    if _ADDRESS.fullmatch(host):
        address = ipaddress.IPv4Address(host)
        if any(address in each for each in _PRIVATE):
            return None
    return artefacts.Failed(
        "BuilderNotSupported",
        f"spec.builder: buildpack cannot be used here: the platform's registry at {endpoint} "
        "speaks plain http, which the lifecycle takes from private IPv4 addresses only; use auto",
    )


def render(wanted: Phases) -> list[Manifest]:
    """Render the steps in their order."""
    steps = [_analyze(wanted), _detect(wanted), _restore(wanted), _build(wanted), _export(wanted)]
    return [*steps, _contents(wanted)] if wanted.scanner else steps


def _analyze(wanted: Phases) -> Manifest:
    """Ask the registry what there is, and whether the image may be pushed."""
    options = [f"-analyzed={_ANALYZED}", f"-cache-image={wanted.cache}"]
    options += [f"-run-image={wanted.run_image}"] if wanted.run_image else []
    options += ["-skip-layers"] if wanted.clear_cache else []
    mounts = {"layers": "rw", "notes": "rw"}
    return _connected("analyze", "analyzer", wanted, "push", mounts, [*options, wanted.image])


def _detect(wanted: Phases) -> Manifest:
    """Choose buildpacks. It copies the repository's files first, for whom the builder runs as."""
    options = [f"-analyzed={_ANALYZED}", f"-group={_GROUP}", f"-plan={_PLAN}", "-app=/workspace"]
    mounts = {"source": "ro", "plan": "ro", "workspace": "rw", "layers": "rw", "notes": "rw"}
    ours = ["--copy-from=/source", "--copy-to=/workspace"]
    return _phase("detect", "detector", wanted, mounts, ours, options)


def _restore(wanted: Phases) -> Manifest:
    options = [f"-analyzed={_ANALYZED}", f"-group={_GROUP}"]
    options += [] if wanted.clear_cache else [f"-cache-image={wanted.cache}"]
    mounts = {"layers": "rw", "notes": "rw"}
    return _connected("restore", "restorer", wanted, "pull", mounts, options)


def _build(wanted: Phases) -> Manifest:
    """Run buildpacks, which run what the repository says: here is nothing that it must not see."""
    options = [f"-analyzed={_ANALYZED}", f"-group={_GROUP}", f"-plan={_PLAN}", "-app=/workspace"]
    mounts = {"workspace": "rw", "layers": "rw", "notes": "ro"}
    step = _phase("build", "builder", wanted, mounts, [], options, memory=wanted.memory)
    # Tools of languages write below HOME.
    step["securityContext"] = {**_AS_THE_IMAGE_SAYS, "readOnlyRootFilesystem": False}
    return step


def _export(wanted: Phases) -> Manifest:
    options = [f"-analyzed={_ANALYZED}", f"-group={_GROUP}", "-app=/workspace"]
    options += [f"-cache-image={wanted.cache}", f"-report={REPORT}"]
    mounts = {"workspace": "rw", "layers": "rw", "notes": "ro", "report": "rw"}
    return _connected("export", "exporter", wanted, "push", mounts, [*options, wanted.image])


def _contents(wanted: Phases) -> Manifest:
    """List what the buildpacks and the repository put into the image."""
    mounts = [
        build_steps.mount("program", "ro"),
        build_steps.mount("layers", "ro", "/image/layers"),
        build_steps.mount("workspace", "ro", "/image/workspace"),
        build_steps.mount("contents", "rw"),
    ]
    environment = {"BUILDKIT_SCAN_SOURCE": "/image", "BUILDKIT_SCAN_DESTINATION": CONTENTS}
    return {
        "name": "contents",
        "image": wanted.scanner,
        "command": [PROGRAM],
        "args": ["phase", "--step=contents", "--run=/bin/bex-scan"],
        "env": _variables(environment),
        "resources": build_steps.resources("1Gi"),
        "securityContext": build_steps.CONFINED,
        "volumeMounts": mounts,
    }


def _connected(
    name: str,
    program: str,
    wanted: Phases,
    credential: str,
    mounts: Mapping[str, str],
    options: list[str],
) -> Manifest:
    """Render a phase that speaks to the registry, and runs no code of others."""
    ours = [f"--registry={wanted.endpoint}", f"--token=/{credential}/{credential}"]
    held = {**mounts, credential: "ro"}
    step = _phase(name, program, wanted, held, ours, options)
    # Nothing that tenants' code left in the other one is taken for its own.
    step["volumeMounts"][-1] = build_steps.mount("tmp", "rw", _TEMPORARY)
    return step


def _phase(
    name: str,
    program: str,
    wanted: Phases,
    mounts: Mapping[str, str],
    ours: list[str],
    options: list[str],
    *,
    memory: str = "1Gi",
) -> Manifest:
    run = f"--run={_LIFECYCLE}/{program}"
    volumes = {"program": "ro", **mounts}
    return {
        "name": name,
        "image": wanted.builder,
        "command": [PROGRAM],
        "args": ["phase", f"--step={name}", run, *ours, "--", "-no-color", *options],
        "env": _variables({"CNB_PLATFORM_API": PLATFORM_API}),
        "resources": build_steps.resources(memory),
        "securityContext": _AS_THE_IMAGE_SAYS,
        "volumeMounts": [
            *(build_steps.mount(each, how) for each, how in volumes.items()),
            build_steps.mount("scratch", "rw", _TEMPORARY),
        ],
    }


def _variables(given: Mapping[str, str]) -> list[Manifest]:
    return [{"name": key, "value": value} for key, value in given.items()]
