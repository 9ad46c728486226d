"""Renders the Job of a build and the Secret beside it: steps, each with one credential. Pure.

Source: Kubernetes user namespaces (`hostUsers: false`); BuildKit's rootless notes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from bex_operator.api import images, names
from bex_operator.plan import (
    artefacts,
    build_outcomes,
    build_steps,
    buildpacks,
    builds,
    collection,
    kept_builds,
    tokens,
)
from bex_operator.plan.build_steps import Manifest

LIMIT_SECONDS = 1800
QUESTION_SECONDS = 120
"""How long a Job that only asks may take, and how long it stays if nobody reads its answer."""
EXIT_REPOSITORY = 90
"""A step's exit code that says: the repository has to change."""
EXIT_SKIPPED = 92
"""A step's exit code that says: this commit need not be built."""
_SHARED = {"source": "2Gi", "objects": "2Gi", "plan": "8Mi", "output": "8Gi"}
"""Volumes between the steps, and how large each may become."""
_CACHE = f"{images.CACHE}:{images.CACHE_OF_DOCKERFILE}"
_BUILDKIT: Manifest = {
    # Root and mounts of the pod's own user namespace: outside of it these are rights to nothing.
    "capabilities": {"add": ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"]},
    "procMount": "Unmasked",
    "runAsUser": 0,
    "seccompProfile": {"type": "Unconfined"},
}


@dataclass(frozen=True, slots=True)
class Registry:
    """The platform's registry, as builds reach it."""

    endpoint: str
    """HOST:PORT where pods with a token are let in."""
    known_as: str
    """What machines call it in image names."""
    mirrored: tuple[str, ...] = ()
    """Other registries whose images it may hold."""
    key: bytes = b""
    """What tokens are signed with."""
    is_tried: bool = False
    """Whether tokens are tried there before a build, though nobody looks after it from here."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What builds run with."""

    namespace: str
    image: str
    """The steps' image."""
    registry: Registry
    builder: str = images.BUILDER
    """The image that buildpacks run in, by digest."""
    run_image: str = images.RUN_IMAGE
    """What they put images on, by digest; empty: what the builder names."""
    scanner: str = ""
    """The image that lists what is in a built one; empty: nothing is listed."""
    runtime_class: str = ""
    """How machines run these pods, where that keeps them off inner networks (RuntimeClass)."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Labels of the machines that build; all machines without."""
    taint: str = ""
    """Key of the taint that keeps other pods off them."""
    inner: tuple[str, ...] = ()
    """Inner networks that repositories may be in."""
    authority: str = ""
    """Certificates of further authorities, PEM."""
    limit: int = 4
    """Most builds at once."""
    limit_each: int = 2
    """Most builds at once of one tenant."""
    memory: str = "3Gi"
    """Most memory of a build."""
    disk_mebibytes: int = 12 << 10
    """Most disk that BuildKit may take for one; half of it may stay for the App's next build."""
    needed_bytes: int = collection.NEEDED_BYTES
    """Least room on the registry's disk for a build to begin."""
    poll_seconds: float = 60.0
    """How often repositories are asked for their heads."""


@dataclass(frozen=True, slots=True)
class Question:
    """Where refs of a repository point."""

    repo: str
    tenant: str
    credentials: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Order:
    """One build to make."""

    job: str
    app: str
    namespace: str
    uid: str
    source: artefacts.Repository
    commit: str
    branch: str
    clear_cache: bool = False
    credentials: Mapping[str, str] = field(default_factory=dict)
    """What lets the clone step in, by its options: `token`, or `key` and `known-hosts`."""
    why: build_outcomes.Started = build_outcomes.NO_REASON
    base_scope: str = ""
    """Digest of the files that counted for the image that stays if they are the same."""
    machine: str = ""
    """Where the App was built last."""


def repository(order_uid: str) -> str:
    """Name where the images of an App lie: by UID, so that a later App of its name finds none."""
    return f"{images.BUILDS}{order_uid}"


def image_name(platform: Platform, uid: str) -> str:
    """Name the images of an App as machines pull them."""
    return f"{platform.registry.known_as}/{repository(uid)}/image"


def _folder(order: Order, platform: Platform) -> str:
    return f"{platform.registry.endpoint}/{repository(order.uid)}"


def render(order: Order, platform: Platform) -> Manifest:
    """Render the Job."""
    labels = _labels(order)
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    theirs = {"operator": "In", "values": [EXIT_REPOSITORY, EXIT_SKIPPED]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": order.job,
            "namespace": platform.namespace,
            "labels": labels,
            "annotations": {
                build_outcomes.SOURCE_ANNOTATION: builds.source_digest(order.source),
                build_outcomes.COMMIT_ANNOTATION: order.commit,
                build_outcomes.BRANCH_ANNOTATION: order.branch,
                build_outcomes.ORDER_ANNOTATION: build_outcomes.encode_started(order.why),
            },
        },
        "spec": {
            "activeDeadlineSeconds": LIMIT_SECONDS,
            "backoffLimit": 2,
            "podReplacementPolicy": "Failed",
            # Until its credentials are there.
            "suspend": True,
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": theirs},
                    {"action": "Ignore", "onPodConditions": [disrupted]},
                ]
            },
            "template": {"metadata": {"labels": labels}, "spec": _pod(order, platform)},
        },
    }


def render_secret(order: Order, platform: Platform, *, now: int) -> Manifest:
    """Render the Secret with a build's credentials; *now* in seconds since 1970."""
    held = let_in(order, platform, now=now)
    content = {
        "pull": held.pull,
        "push": held.push,
        "authority": platform.authority,
        **{f"clone-{name}": value for name, value in order.credentials.items()},
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": order.job,
            "namespace": platform.namespace,
            "labels": {**_labels(order), names.PROTECTED_LABEL: "true"},
        },
        "stringData": {key: value for key, value in content.items() if value},
    }


def let_in(order: Order, platform: Platform, *, now: int) -> tokens.Pass:
    """Sign what a build needs at the registry; *now* in seconds since 1970."""
    registry, expires = platform.registry, now + 2 * LIMIT_SECONDS
    folder, exports = repository(order.uid), _has_phases(order)
    return tokens.of_build(
        registry.key, registry.endpoint, folder, expires=expires, exports=exports
    )


def _labels(order: Order) -> dict[str, str]:
    return {
        names.APP_UID_LABEL: order.uid,
        names.COMPONENT_LABEL: builds.COMPONENT,
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        builds.BUILD_OF_LABEL: order.app,
        builds.NAMESPACE_LABEL: order.namespace,
    }


def _pod(order: Order, platform: Platform) -> Manifest:
    shared = buildpacks.VOLUMES if _has_phases(order) else _SHARED
    volumes: list[Manifest] = [
        {"name": name, "emptyDir": {"sizeLimit": size}} for name, size in shared.items()
    ]
    secrets = {"pull", "push"}
    secrets |= {"authority"} if platform.authority else set()
    for each in sorted(secrets):
        items = [{"key": each, "path": each}]
        volumes.append({"name": each, "secret": {"secretName": order.job, "items": items}})
    if order.credentials:
        volumes.append(build_steps.credentials(order.job, order.credentials))
    steps = [_clone(order, platform), _resolve(order, platform)]
    if _has_phases(order):
        steps += buildpacks.render(_phases(order, platform))
    else:
        size = f"{platform.disk_mebibytes}Mi"
        volumes += [{"name": "state", "emptyDir": {"sizeLimit": size}}]
        volumes += kept_builds.volumes(order.uid)
        steps = [kept_builds.make_room(order.uid, platform.image), *steps, _build(order, platform)]
    steps.append(_push(order, platform))
    return {
        **_isolated(platform),
        **kept_builds.near(order.machine),
        "containers": [steps[-1]],
        "initContainers": steps[:-1],
        "volumes": volumes,
    }


def _isolated(platform: Platform) -> Manifest:
    """What every pod has that runs for a tenant."""
    place: Manifest = {}
    if platform.node_selector:
        place["nodeSelector"] = dict(platform.node_selector)
    if platform.taint:
        place["tolerations"] = [{"key": platform.taint, "operator": "Exists"}]
    return {
        **place,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostUsers": False,
        "restartPolicy": "Never",
        **({"runtimeClassName": platform.runtime_class} if platform.runtime_class else {}),
        "terminationGracePeriodSeconds": 5,
    }


def _clone(order: Order, platform: Platform) -> Manifest:
    reaching = build_steps.Reaching(order.credentials, platform.inner, platform.authority)
    options = {"commit": order.commit, **reaching.options(order.source.repo)}
    mounts = {"source": "rw", "objects": "rw", **reaching.mounts}
    if order.base_scope:
        options["base-scope"] = order.base_scope
    step = build_steps.render("clone", platform.image, options, mounts, memory="512Mi")
    step["args"] += [f"--counts={each}" for each in order.source.counting]
    step["args"] += [f"--ignored={each}" for each in order.source.ignored_paths]
    return step


def _resolve(order: Order, platform: Platform) -> Manifest:
    source = order.source
    options = {
        "root-dir": source.root_dir,
        "dockerfile": source.dockerfile_path,
        "context": source.docker_context,
        "builder": source.builder,
    }
    mounts = {"source": "ro", "plan": "rw"}
    if _has_phases(order):
        options["program-to"] = buildpacks.PROGRAM
        mounts["program"] = "rw"
    return build_steps.render("resolve", platform.image, options, mounts, memory="128Mi")


def _has_phases(order: Order) -> bool:
    return order.source.builder == "buildpack"


def _phases(order: Order, platform: Platform) -> buildpacks.Phases:
    registry, run = platform.registry, platform.run_image
    folder = _folder(order, platform)
    if run.startswith(f"{registry.known_as}/"):
        run = f"{registry.endpoint}{run.removeprefix(registry.known_as)}"
    return buildpacks.Phases(
        builder=platform.builder,
        run_image=run,
        endpoint=registry.endpoint,
        image=f"{folder}/{images.IMAGE}:{order.job}",
        cache=f"{folder}/{images.CACHE}:{images.CACHE_OF_BUILDPACKS}",
        memory=platform.memory,
        scanner=platform.scanner,
        clear_cache=order.clear_cache,
    )


def _build(order: Order, platform: Platform) -> Manifest:
    registry = platform.registry
    options = {
        "registry": registry.endpoint,
        "mirrored": ",".join((registry.known_as, *registry.mirrored)),
        "token": "/pull/pull",
        "cache": f"{_folder(order, platform)}/{_CACHE}",
        "clear-cache": "true" if order.clear_cache else "false",
        "kept": f"/{kept_builds.VOLUME}",
        "most-disk": str(platform.disk_mebibytes),
        "name": f"{image_name(platform, order.uid)}:{order.job}",
        **({"scanner": platform.scanner} if platform.scanner else {}),
    }
    mounts = {"source": "ro", "plan": "ro", "state": "rw", "output": "rw", "pull": "ro"}
    mounts[kept_builds.VOLUME] = "rw"
    step = build_steps.render("build", platform.image, options, mounts, memory=platform.memory)
    step["args"] += _labelling(order)
    return {**step, "securityContext": _BUILDKIT}


def _labelling(order: Order) -> list[str]:
    """Options of the step that says on an image where it comes from."""
    labels = {
        "org.opencontainers.image.revision": order.commit,
        "org.opencontainers.image.source": order.source.repo,
        builds.BUILD_OF_LABEL: f"{order.namespace}/{order.app}",
    }
    return [f"--label={key}={value}" for key, value in labels.items()]


def _push(order: Order, platform: Platform) -> Manifest:
    folder = _folder(order, platform)
    options = {
        "image": f"{folder}/{images.IMAGE}:{order.job}",
        "token": "/push/push",
        "insecure": "true",
    }
    if not _has_phases(order):
        options["cache-to"] = f"{folder}/{_CACHE}"
        mounts = {"output": "ro", "push": "ro"}
        return build_steps.render("push", platform.image, options, mounts, memory="512Mi")
    options |= {"report": buildpacks.REPORT, "builder": platform.builder}
    options["contents"] = buildpacks.CONTENTS
    mounts = {**buildpacks.PUSHED_FROM, "push": "ro"}
    step = build_steps.render("push", platform.image, options, mounts, memory="512Mi")
    step["args"] += _labelling(order)
    return step


def render_question(
    asked: Question, refs: Sequence[str], platform: Platform
) -> tuple[Manifest, Manifest]:
    """Render the Job that asks, held back until its Secret is there, and the Secret."""
    parts = (asked.tenant, asked.repo, *refs)
    job = f"refs-{hashlib.sha256(orjson.dumps(parts)).hexdigest()[:16]}"
    labels = {
        names.COMPONENT_LABEL: "refs",
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        builds.NAMESPACE_LABEL: asked.tenant,
    }
    metadata: Manifest = {"name": job, "namespace": platform.namespace, "labels": labels}
    reaching = build_steps.Reaching(asked.credentials, platform.inner, platform.authority)
    options = reaching.options(asked.repo)
    step = build_steps.render("refs", platform.image, options, reaching.mounts, memory="128Mi")
    step["args"] += [f"--ref={each}" for each in refs]
    volumes = [build_steps.credentials(job, asked.credentials)] if asked.credentials else []
    held = {f"clone-{name}": value for name, value in asked.credentials.items()}
    if platform.authority:
        held["authority"] = platform.authority
        items = [{"key": "authority", "path": "authority"}]
        volumes.append({"name": "authority", "secret": {"secretName": job, "items": items}})
    pod = {**_isolated(platform), "containers": [step], "volumes": volumes}
    rendered = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "activeDeadlineSeconds": QUESTION_SECONDS,
            "backoffLimit": 0,
            "suspend": True,
            "ttlSecondsAfterFinished": QUESTION_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    protected = {**metadata, "labels": {**labels, names.PROTECTED_LABEL: "true"}}
    return rendered, {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": protected,
        "stringData": held,
    }
