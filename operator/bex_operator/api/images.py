"""Where the platform's registry keeps what builds push, and for how long: one set of facts for
whoever pushes, whoever lets images go, and registries that do so by themselves."""

from dataclasses import dataclass

BUILDS = "builds/"
"""Repositories of Apps lie below it, under the App's UID."""
SERVICE = "bex"
"""What a registry that reads the platform's tokens calls itself in its challenge."""
BUILDER = (
    "docker.io/paketobuildpacks/builder-jammy-base"
    "@sha256:aadea5426b08ec201d62a74ac46b61c0452b9bd139806f071e4a81e362a43d83"
)
RUN_IMAGE = (
    "docker.io/paketobuildpacks/run-jammy-base"
    "@sha256:03a974a6e7b563878429117943f14139ff29f0f3d02aa7e3d3ab0ae862908168"
)
"""What `builder: buildpack` builds in, and what it puts images on, unless a stack says otherwise:
a pair of Paketo's. The project's checks build in a builder of their own and never pull these."""
BY_DIGEST = r"[^\s@]+@sha256:[0-9a-f]{64}"
"""How an image is named whose content nobody can change."""


@dataclass(frozen=True, slots=True)
class Buildpacks:
    """What `builder: buildpack` builds in, and what it puts images on; both by digest."""

    builder: str = BUILDER
    run_image: str = RUN_IMAGE
    """Empty: what the builder names."""


IMAGE, CACHE = "image", "cache"
"""What an App has there: images by digest, and the layers of its last build."""
CACHE_OF_DOCKERFILE, CACHE_OF_BUILDPACKS = "latest", "buildpack"
"""Tags of the two kinds of those layers: who builds one way cannot read those of the other."""
KEPT_BUILDS = 10
"""Finished builds of an App that are remembered: whose commit comes again is not built again."""
KEPT_RELEASES = 10
"""Releases of an App that a rollback reaches."""
BUILDS_AT_ONCE = 2
"""Builds of an App that may be on their way: the running one, and the one after it."""
GRACE_SECONDS = 3600
"""How long whatever was pushed, or asked for by somebody who pushes, stays in any case: longer than
a build may take, for it pushes layers first and the image that names them last."""
