"""The images that builds run, each from scratch: BuildKit's daemon, runc and our own steps; and
the scanner that BuildKit asks what is in an image.

Made and pushed for the first App that has a repository; nobody else pays for BuildKit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bex_stack.embedded import binaries, images, oci_layout
from bex_stack.embedded import toolchain as toolchains

_FORMAT = "1"
"""Raised when the same programs have to become another image."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An image of programs of the toolchain; the first is what it runs."""

    repository: str
    programs: tuple[str, ...]

    @property
    def tag(self) -> str:
        """What its programs are built from."""
        families = {binaries.get(name).family for name in self.programs}
        parts = (_FORMAT, *(binaries.family_digest(family) for family in sorted(families)))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """Repository and tag."""
        return f"{self.repository}:{self.tag}"

    def ensure(self, *, toolchain: toolchains.Toolchain) -> Path:
        """Return the OCI layout of the image; made, or taken from the cache.

        Raises: ToolchainError.
        """
        title = self.repository.rpartition("/")[2]
        layout = toolchain.cache / "images" / f"{title}-{self.tag}"
        if layout.is_dir():
            return layout
        image = oci_layout.Image(
            files={f"/bin/{name}": toolchain.path(name).read_bytes() for name in self.programs},
            entrypoint=(f"/bin/{self.programs[0]}",),
            user="0:0",
            environment={"PATH": "/bin"},
            labels={"org.opencontainers.image.title": f"bex-{title}"},
        )
        return images.kept(layout, lambda folder: oci_layout.write(image, folder))


STEPS = Packed("bex/builder", ("bex-build", "buildkitd", "runc"))
SCANNER = Packed("bex/scanner", ("bex-scan",))
ALL = (STEPS, SCANNER)
PROGRAMS = tuple(name for image in ALL for name in image.programs)
