"""Renders the Job of a build and the Secret beside it: four steps, each with one credential. Pure.

Source: Kubernetes user namespaces (`hostUsers: false`); BuildKit's rootless notes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bex_operator.api import names
from bex_operator.plan import artefacts, build_outcomes, builds, collection, tokens

Manifest = dict[str, Any]

LIMIT_SECONDS = 1800
EXIT_REPOSITORY = 90
"""A step's exit code that says: the repository has to change."""
EXIT_SKIPPED = 92
"""A step's exit code that says: this commit need not be built."""
_SHARED = {"source": "2Gi", "objects": "2Gi", "plan": "8Mi", "state": "12Gi", "output": "8Gi"}
"""Volumes between the steps, and how large each may become."""
_NOBODY = 65532

_CONFINED: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsGroup": _NOBODY,
    "runAsNonRoot": True,
    "runAsUser": _NOBODY,
    "seccompProfile": {"type": "RuntimeDefault"},
}
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


@dataclass(frozen=True, slots=True)
class Platform:
    """What builds run with."""

    namespace: str
    image: str
    """The steps' image."""
    registry: Registry
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
    needed_bytes: int = collection.NEEDED_BYTES
    """Least room on the registry's disk for a build to begin."""
    poll_seconds: float = 60.0
    """How often repositories are asked for their heads."""


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
    clone_token: str = ""
    why: build_outcomes.Started = build_outcomes.NO_REASON
    base_scope: str = ""
    """Digest of the files that counted for the image that stays if they are the same."""


def repository(order_uid: str) -> str:
    """Name where the images of an App lie: by UID, so that a later App of its name finds none."""
    return f"builds/{order_uid}"


def image_name(platform: Platform, uid: str) -> str:
    """Name the images of an App as machines pull them."""
    return f"{platform.registry.known_as}/{repository(uid)}/image"


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
    folder = repository(order.uid)
    pull = [("library/*", "pull"), ("bex/*", "pull"), (f"{folder}/cache", "pull")]
    push = [(f"{folder}/{part}", "pull", "push") for part in ("image", "cache")]
    expires = now + 2 * LIMIT_SECONDS
    content = {
        "pull": tokens.sign(platform.registry.key, pull, expires),
        "push": tokens.sign(platform.registry.key, push, expires),
        "authority": platform.authority,
        "clone": order.clone_token,
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


def _labels(order: Order) -> dict[str, str]:
    return {
        names.APP_UID_LABEL: order.uid,
        names.COMPONENT_LABEL: builds.COMPONENT,
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        builds.BUILD_OF_LABEL: order.app,
        builds.NAMESPACE_LABEL: order.namespace,
    }


def _pod(order: Order, platform: Platform) -> Manifest:
    volumes: list[Manifest] = [
        {"name": name, "emptyDir": {"sizeLimit": size}} for name, size in _SHARED.items()
    ]
    secrets = {"pull", "push"}
    secrets |= {"clone"} if order.clone_token else set()
    secrets |= {"authority"} if platform.authority else set()
    for each in sorted(secrets):
        items = [{"key": each, "path": each}]
        volumes.append({"name": each, "secret": {"secretName": order.job, "items": items}})
    steps = (
        _clone(order, platform),
        _resolve(order, platform),
        _build(order, platform),
        _push(order, platform),
    )
    return {
        "automountServiceAccountToken": False,
        "containers": [steps[-1]],
        "enableServiceLinks": False,
        "hostUsers": False,
        "initContainers": list(steps[:-1]),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 5,
        "volumes": volumes,
    }


def _clone(order: Order, platform: Platform) -> Manifest:
    options = {"repo": order.source.repo, "commit": order.commit}
    mounts = {"source": "rw", "objects": "rw"}
    if order.base_scope:
        options["base-scope"] = order.base_scope
    if platform.inner:
        options["inner"] = ",".join(platform.inner)
    if platform.authority:
        options["authority"] = "/authority/authority"
        mounts["authority"] = "ro"
    if order.clone_token:
        options["token"] = "/clone/clone"  # noqa: S105 - a path
        mounts["clone"] = "ro"
    step = _step("clone", platform, options, mounts, memory="512Mi")
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
    return _step("resolve", platform, options, {"source": "ro", "plan": "rw"}, memory="128Mi")


def _build(order: Order, platform: Platform) -> Manifest:
    registry = platform.registry
    options = {
        "registry": registry.endpoint,
        "mirrored": ",".join((registry.known_as, *registry.mirrored)),
        "token": "/pull/pull",
        "cache": f"{registry.endpoint}/{repository(order.uid)}/cache:latest",
        "clear-cache": "true" if order.clear_cache else "false",
    }
    mounts = {"source": "ro", "plan": "ro", "state": "rw", "output": "rw", "pull": "ro"}
    step = _step("build", platform, options, mounts, memory=platform.memory)
    labels = {
        "org.opencontainers.image.revision": order.commit,
        "org.opencontainers.image.source": order.source.repo,
        builds.BUILD_OF_LABEL: f"{order.namespace}/{order.app}",
    }
    step["args"] += [f"--label={key}={value}" for key, value in labels.items()]
    return {**step, "securityContext": _BUILDKIT}


def _push(order: Order, platform: Platform) -> Manifest:
    folder = f"{platform.registry.endpoint}/{repository(order.uid)}"
    options = {
        "image": f"{folder}/image:{order.job}",
        "cache-to": f"{folder}/cache:latest",
        "token": "/push/push",
        "insecure": "true",
    }
    return _step("push", platform, options, {"output": "ro", "push": "ro"}, memory="512Mi")


def _step(
    name: str,
    platform: Platform,
    options: Mapping[str, str],
    mounts: Mapping[str, str],
    *,
    memory: str,
) -> Manifest:
    return {
        "name": name,
        "image": platform.image,
        # Each option is one argument: no value of a tenant can become another.
        "args": [name, *(f"--{key}={value}" for key, value in options.items())],
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "2", "memory": memory},
        },
        "securityContext": _CONFINED,
        "volumeMounts": [
            {"name": each, "mountPath": f"/{each}", "readOnly": how == "ro"}
            for each, how in mounts.items()
        ],
    }
