"""How repositories are built on this host, and the image that builds them.

Asked for by the first App with a repository: BuildKit takes minutes to compile, and a stack of
prebuilt images never pays for it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi import dynamic

from bex_operator import api
from bex_operator.api import names
from bex_stack.embedded import built_images, registry
from bex_stack.embedded import instance as instances

SETTINGS, TOKEN_KEY = "builds.json", "token-key"


def settings(instance: instances.Instance, token_key: str) -> dict[str, Any]:
    """Say what the operator reads; *token_key* is where it finds the key."""
    from bex_stack.embedded import builder_image, machine_config

    return {
        "image": f"{registry.KNOWN_AS}/{builder_image.REPOSITORY}:{builder_image.tag()}",
        "registry": registry.guarded_endpoint(instance),
        "knownAs": registry.KNOWN_AS,
        "mirrored": sorted(machine_config.MIRRORED),
        "tokenKey": token_key,
        # Repositories that this host serves to its machines.
        "inner": [f"{instance.bridge_address}/32"],
    }


def settings_file(instance: instances.Instance) -> Path:
    """Where an operator beside the cluster finds its settings."""
    return instance.etc_dir / SETTINGS


def secret_name() -> str:
    """Name the Secret by the builder: an operator is started anew with another one."""
    from bex_stack.embedded import builder_image

    return f"bex-builds-{builder_image.tag()}"


def secret(settings_text: str, token_key: pulumi.Input[str]) -> Mapping[str, Any]:
    """Render what the operator's pods read (v1 Secret)."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(),
            "namespace": api.SYSTEM_NAMESPACE,
            "labels": {names.PROTECTED_LABEL: "true"},
        },
        "stringData": {SETTINGS: settings_text, TOKEN_KEY: token_key},
    }


class BuilderImageProvider(built_images.ImageProvider):
    """Packs BuildKit's daemon, runc and the steps of builds."""

    def _push(self, props: dict[str, Any]) -> dict[str, Any]:
        import json

        from bex_stack.embedded import builder_image, disk, images, toolchain

        instance = instances.from_inputs(props["instance"])
        tools = toolchain.ensure([*builder_image.PROGRAMS, "crane"])
        layout = builder_image.ensure(toolchain=tools)
        reference = f"{props['registry']}/{props['repository']}:{props['tag']}"
        digest = images.push(layout, reference, toolchain=tools)
        key = registry.token_key(instance)
        text = json.dumps(settings(instance, str(key)))
        disk.ensure_file(settings_file(instance), text)
        return {**props, "digest": digest, "token_key": key.read_text()}


class BuilderImage(dynamic.Resource):
    """The image that builds run, pushed as `<registry>/bex/builder:<tag>`."""

    digest: pulumi.Output[str]
    token_key: pulumi.Output[str]
    """What tokens for the registry are signed with."""

    def __init__(
        self,
        name: str,
        instance: instances.Instance,
        *,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        from bex_stack.embedded import builder_image

        props = {
            "instance": instance.to_inputs(),
            "source_digest": builder_image.tag(),
            "repository": builder_image.REPOSITORY,
            "tag": builder_image.tag(),
            "registry": registry.endpoint(instance),
            "digest": None,
            "token_key": None,
        }
        secret_outputs = pulumi.ResourceOptions(additional_secret_outputs=["token_key"])
        merged = pulumi.ResourceOptions.merge(opts, secret_outputs)
        super().__init__(BuilderImageProvider(), name, props, merged)
