"""Pulumi resources for the images this host builds and pushes to the embedded registry.

An image is named by its tag and made from its sources alone: when they change, or when the
registry lost it, the next up pushes it again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi import dynamic


class ImageProvider(dynamic.ResourceProvider):
    """Common part: identity, difference and deletion of a pushed image."""

    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        """Build and push the image."""
        outputs = self._push(props)
        return dynamic.CreateResult(f"{props['repository']}:{props['tag']}", outputs)

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> dynamic.UpdateResult:
        """Build and push the image again."""
        return dynamic.UpdateResult(outs=self._push(news))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> dynamic.DiffResult:
        """Compare the sources, and ask a registry that answers whether it still has the image."""
        keys = ("source_digest", "registry", "repository", "tag")
        changed = [key for key in keys if olds.get(key) != news.get(key)]
        moved = [key for key in changed if key in ("repository", "tag")]
        return dynamic.DiffResult(
            changes=bool(changed) or self._is_lost(olds),
            replaces=moved,
            delete_before_replace=False,
        )

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Leave the image: it goes with the registry, and a release may still point at it."""

    def _push(self, props: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def _pushed(self, olds: dict[str, Any]) -> Mapping[str, str]:
        """Return the digests of all that was pushed, by repository and tag."""
        return {f"{olds['repository']}:{olds['tag']}": olds["digest"]}

    def _is_lost(self, olds: dict[str, Any]) -> bool:
        from bex_stack.embedded import images

        for name, digest in self._pushed(olds).items():
            repository, _, tag = name.rpartition(":")
            found = images.digest_in_registry(olds["registry"], repository, tag)
            if found is not None and found != digest:
                return True
        return False


class GoImageProvider(ImageProvider):
    """Builds a static Go program into an image made from scratch."""

    def _push(self, props: dict[str, Any]) -> dict[str, Any]:
        from bex_stack.embedded import images, toolchain

        tools = toolchain.ensure(["crane"])
        archive = images.build_go_image(Path(props["source"]), toolchain=tools)
        reference = f"{props['registry']}/{props['repository']}:{props['tag']}"
        return {**props, "digest": images.push(archive, reference, toolchain=tools)}


class PauseImageProvider(ImageProvider):
    """Packs the toolchain's `pause`, which holds a pod's namespaces open."""

    def _push(self, props: dict[str, Any]) -> dict[str, Any]:
        from bex_stack.embedded import images, toolchain

        tools = toolchain.ensure(["pause", "crane"])
        reference = f"{props['registry']}/{props['repository']}:{props['tag']}"
        archive = images.build_pause_image(toolchain=tools)
        return {**props, "digest": images.push(archive, reference, toolchain=tools)}


class OperatorImageProvider(ImageProvider):
    """Packs the operator's modules on top of Python and the wheels they need."""

    def _push(self, props: dict[str, Any]) -> dict[str, Any]:
        from bex_stack.embedded import images, operator_image, registry, toolchain

        reference = f"{props['registry']}/{props['repository']}:{props['tag']}"
        digest = images.push(
            operator_image.ensure(), reference, toolchain=toolchain.ensure(["crane"])
        )
        known_as = f"{registry.KNOWN_AS}/{props['repository']}@{digest}"
        return {**props, "digest": digest, "reference": known_as}


class GoImage(dynamic.Resource):
    """An image of the Go program in *source*, pushed as `<registry>/<repository>:<tag>`."""

    digest: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        source: Path,
        repository: str,
        tag: str,
        registry: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        from bex_stack.embedded import images

        props = {
            "source": str(source),
            "source_digest": images.source_digest(source),
            "repository": repository,
            "tag": tag,
            "registry": registry,
            "digest": None,
        }
        super().__init__(GoImageProvider(), name, props, opts)


class PauseImage(dynamic.Resource):
    """The image every pod's sandbox runs, pushed as `<registry>/pause:<tag>`."""

    digest: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        registry: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        from bex_stack.embedded import images

        props = {
            "source_digest": images.PAUSE_DIGEST,
            "repository": "pause",
            "tag": images.PAUSE_TAG,
            "registry": registry,
            "digest": None,
        }
        super().__init__(PauseImageProvider(), name, props, opts)


class OperatorImage(dynamic.Resource):
    """The operator's image, pushed as `<registry>/bex/operator:current`."""

    digest: pulumi.Output[str]
    reference: pulumi.Output[str]
    """How machines call it: by its digest."""

    def __init__(
        self,
        name: str,
        *,
        registry: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        from bex_stack.embedded import operator_image

        props = {
            "source_digest": operator_image.content_digest(),
            "repository": operator_image.REPOSITORY,
            "tag": "current",
            "registry": registry,
            "digest": None,
            "reference": None,
        }
        super().__init__(OperatorImageProvider(), name, props, opts)
