"""How repositories are built here: one JSON file that the platform writes, read once."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import pydantic
from pydantic import alias_generators

from bex_operator.api import images, names
from bex_operator.plan import build_jobs, collection

if TYPE_CHECKING:
    from bex_operator.git import remotes

ByDigest = Annotated[str, pydantic.Field(pattern=f"^{images.BY_DIGEST}$")]


class _Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, alias_generator=alias_generators.to_camel
    )

    namespace: str = names.BUILD_NAMESPACE
    image: str
    builder: ByDigest = images.BUILDER
    run_image: ByDigest | Literal[""] = images.RUN_IMAGE
    scanner: str = ""
    runtime_class: str = ""
    node_selector: dict[str, str] = pydantic.Field(default_factory=dict)
    taint: str = ""
    registry: str
    """HOST:PORT where pods with a token are let in."""
    known_as: str
    mirrored: tuple[str, ...] = ()
    token_key: Path
    is_tried: bool = False
    inner: tuple[str, ...] = ()
    authority: Path | None = None
    limit: pydantic.PositiveInt = 4
    limit_each: pydantic.PositiveInt = 2
    memory: str = "3Gi"
    disk_mebibytes: pydantic.PositiveInt = 12 << 10
    needed_bytes: pydantic.NonNegativeInt = collection.NEEDED_BYTES
    """Least room on the registry's disk for a build to begin."""
    poll_seconds: pydantic.PositiveFloat = 60.0


def read(path: Path) -> build_jobs.Platform:
    """Read the file.

    Raises:
        ValueError: it is not as it should be.
        OSError: it, or a file that it names, cannot be read.
    """
    given = _Settings.model_validate_json(path.read_bytes(), by_alias=True)
    registry = build_jobs.Registry(
        given.registry,
        given.known_as,
        given.mirrored,
        given.token_key.read_bytes(),
        given.is_tried,
    )
    return build_jobs.Platform(
        namespace=given.namespace,
        image=given.image,
        registry=registry,
        builder=given.builder,
        run_image=given.run_image,
        scanner=given.scanner,
        runtime_class=given.runtime_class,
        node_selector=given.node_selector,
        taint=given.taint,
        inner=given.inner,
        authority=given.authority.read_text() if given.authority else "",
        limit=given.limit,
        limit_each=given.limit_each,
        memory=given.memory,
        disk_mebibytes=given.disk_mebibytes,
        needed_bytes=given.needed_bytes,
        poll_seconds=given.poll_seconds,
    )


def remote(platform: build_jobs.Platform) -> "remotes.Remotes":
    """Make what asks git servers, with the limits that clones have."""
    # It takes 12 MiB, which an operator that builds nothing does without.
    from bex_operator.git import remotes

    return remotes.Remotes(inner=platform.inner, authority=platform.authority)
