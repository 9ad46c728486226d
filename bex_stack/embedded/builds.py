"""How repositories are built on this host, and the image that builds them.

Asked for by the first App with a repository: BuildKit takes minutes to compile, and a stack of
prebuilt images never pays for it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi import dynamic

from bex_operator import api
from bex_operator.api import images, names
from bex_stack.embedded import built_images, registry
from bex_stack.embedded import instance as instances
from components.manifests import builds as manifests

SETTINGS, AUTHORITY = "builds.json", "authority"


def settings(
    instance: instances.Instance, buildpacks: images.Buildpacks, token_key: str, authority: str
) -> dict[str, Any]:
    """Say what the operator reads, and where: *token_key* and *authority* are paths."""
    from bex_stack.embedded import build_network, builder_image, machine_config

    return {
        "authority": authority,
        "image": f"{registry.KNOWN_AS}/{builder_image.STEPS.name}",
        "builder": buildpacks.builder,
        "runImage": buildpacks.run_image,
        "scanner": f"{registry.KNOWN_AS}/{builder_image.SCANNER.name}",
        "runtimeClass": build_network.RUNTIME_CLASS,
        "registry": registry.guarded_endpoint(instance),
        "knownAs": registry.KNOWN_AS,
        "mirrored": sorted(machine_config.MIRRORED),
        "tokenKey": token_key,
        # Repositories that this host serves to its machines, and those of the stack's settings.
        "inner": [
            f"{instance.bridge_address}/32",
            *(manifests.read_inner_network(each).network for each in instance.inner),
        ],
    }


def authority_file(instance: instances.Instance) -> Path:
    """Where somebody may put certificates of further authorities that git servers have."""
    return instance.dir / "git" / "authority.crt"


def read_authority(instance: instances.Instance) -> str:
    """Return those certificates; nothing if nobody put any."""
    from bex_stack.embedded import disk

    return (disk.read(authority_file(instance)) or b"").decode()


def trusted(own: str, instance: instances.Instance) -> str:
    """Return all authorities that git servers may have: *own* is the cluster's."""
    return own + read_authority(instance)


def trusted_file(instance: instances.Instance) -> Path:
    """Where an operator beside the cluster finds those authorities."""
    return instance.etc_dir / "git-authorities.crt"


def settings_file(instance: instances.Instance) -> Path:
    """Where an operator beside the cluster finds its settings."""
    return instance.etc_dir / SETTINGS


def secret_name(instance: instances.Instance, buildpacks: images.Buildpacks) -> str:
    """Name the Secret by what it is made from: an operator is started anew with another one."""
    from bex_stack.embedded import builder_image

    made = (each.tag for each in builder_image.ALL)
    parts = (*made, buildpacks.builder, buildpacks.run_image, read_authority(instance))
    parts += instance.inner
    return f"bex-builds-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def secret(
    instance: instances.Instance,
    buildpacks: images.Buildpacks,
    folder: str,
    token_key: str,
    authority: pulumi.Output[str],
) -> Mapping[str, Any]:
    """Render what the operator's pods read in *folder* (v1 Secret); *token_key* is a path, too.

    *authority* is the cluster's own, which its git server has its certificate from.
    """
    told = settings(instance, buildpacks, token_key, f"{folder}/{AUTHORITY}")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(instance, buildpacks),
            "namespace": api.SYSTEM_NAMESPACE,
            "labels": {names.PROTECTED_LABEL: "true"},
        },
        "stringData": {
            SETTINGS: json.dumps(told),
            AUTHORITY: authority.apply(lambda own: trusted(own, instance)),
        },
    }


def push_images(endpoint: str) -> dict[str, str]:
    """Push what builds run to a registry; return the digests by name.

    Raises: ToolchainError.
    """
    from bex_stack.embedded import builder_image, toolchain
    from bex_stack.embedded import images as layouts

    tools = toolchain.ensure([*builder_image.PROGRAMS, "crane"])
    pushed = {}
    for image in builder_image.ALL:
        layout = image.ensure(toolchain=tools)
        pushed[image.name] = layouts.push(layout, f"{endpoint}/{image.name}", toolchain=tools)
    return pushed


class BuilderImageProvider(built_images.ImageProvider):
    """Packs BuildKit's daemon, runc and the steps of builds, and beside it the scanner."""

    def _push(self, props: dict[str, Any]) -> dict[str, Any]:
        from bex_stack.embedded import builder_image, disk, identities

        instance = instances.from_inputs(props["instance"])
        pushed = push_images(props["registry"])
        own = identities.cluster_authority(instance).certificate.read_text()
        disk.ensure_file(trusted_file(instance), trusted(own, instance))
        key = registry.token_key(instance)
        buildpacks = images.Buildpacks(props["buildpack_builder"], props["buildpack_run_image"])
        told = settings(instance, buildpacks, str(key), str(trusted_file(instance)))
        disk.ensure_file(settings_file(instance), json.dumps(told))
        return {**props, "digest": pushed[builder_image.STEPS.name], "digests": pushed}

    def _pushed(self, olds: dict[str, Any]) -> Mapping[str, str]:
        from bex_stack.embedded import builder_image

        # A stack brought up before this was noted pushes once more.
        noted: Mapping[str, str] | None = olds.get("digests")
        return noted or dict.fromkeys((each.name for each in builder_image.ALL), "unknown")


class BuilderImage(dynamic.Resource):
    """The image that builds run, pushed as `<registry>/bex/builder:<tag>`."""

    digest: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        instance: instances.Instance,
        buildpacks: images.Buildpacks,
        *,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        from bex_stack.embedded import builder_image

        props = {
            "instance": instance.to_inputs(),
            "source_digest": secret_name(instance, buildpacks),
            "buildpack_builder": buildpacks.builder,
            "buildpack_run_image": buildpacks.run_image,
            "repository": builder_image.STEPS.repository,
            "tag": builder_image.STEPS.tag,
            "registry": registry.endpoint(instance),
            "digest": None,
            "digests": None,
        }
        super().__init__(BuilderImageProvider(), name, props, opts)


class BaseImageProvider(built_images.ImageProvider):
    """Makes a base image of this host's packages, or takes the one that was made before."""

    def _push(self, props: dict[str, Any]) -> dict[str, Any]:
        from bex_stack.embedded import base_images, toolchain

        name = str(props["repository"]).rpartition("/")[2]
        made = base_images.seed(name, props["registry"], toolchain=toolchain.ensure(["crane"]))
        return {**props, "digest": made.digest}


class BaseImage(dynamic.Resource):
    """A base image under the names that Dockerfiles use: `<registry>/library/<image>`."""

    digest: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        image: str,
        registry: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        from bex_stack.embedded import base_images

        props = {
            "source_digest": base_images.FORMAT,
            "repository": f"library/{image}",
            "tag": "latest",
            "registry": registry,
            "digest": None,
        }
        super().__init__(BaseImageProvider(), name, props, opts)
