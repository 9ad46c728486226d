"""Where the platform's registry keeps what builds push, and for how long: one set of facts for
whoever pushes, whoever lets images go, and registries that do so by themselves."""

BUILDS = "builds/"
"""Repositories of Apps lie below it, under the App's UID."""
SERVICE = "bex"
"""What a registry that reads the platform's tokens calls itself in its challenge."""
IMAGE, CACHE = "image", "cache"
"""What an App has there: images by digest, and the layers of its last build."""
KEPT_BUILDS = 10
"""Finished builds of an App that are remembered: whose commit comes again is not built again."""
KEPT_RELEASES = 10
"""Releases of an App that a rollback reaches."""
BUILDS_AT_ONCE = 2
"""Builds of an App that may be on their way: the running one, and the one after it."""
GRACE_SECONDS = 3600
"""How long whatever was pushed, or asked for by somebody who pushes, stays in any case: longer than
a build may take, for it pushes layers first and the image that names them last."""
