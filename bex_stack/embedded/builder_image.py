"""The image that the steps of builds run: BuildKit's daemon, runc and our own steps, from scratch.

Made and pushed for the first App that has a repository; nobody else pays for BuildKit.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from bex_stack.embedded import binaries, images, oci_layout
from bex_stack.embedded import toolchain as toolchains

REPOSITORY = "bex/builder"
STEPS = "bex-build"
PROGRAMS = (*binaries.BUILDS, "runc")
_FORMAT = "1"
"""Raised when the same programs have to become another image."""


def tag() -> str:
    """Name the image by what its programs are built from."""
    families = {binaries.get(name).family for name in PROGRAMS}
    parts = (_FORMAT, *(binaries.family_digest(family) for family in sorted(families)))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def ensure(*, toolchain: toolchains.Toolchain) -> Path:
    """Return the OCI layout of the image; made, or taken from the cache.

    Raises: ToolchainError.
    """
    layout = toolchain.cache / "images" / f"builder-{tag()}"
    if layout.is_dir():
        return layout
    image = oci_layout.Image(
        files={f"/bin/{name}": toolchain.path(name).read_bytes() for name in PROGRAMS},
        entrypoint=(f"/bin/{STEPS}",),
        user="0:0",
        environment={"PATH": "/bin"},
        labels={"org.opencontainers.image.title": "bex-builder"},
    )
    return images.kept(layout, lambda folder: oci_layout.write(image, folder))
