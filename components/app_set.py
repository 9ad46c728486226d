"""The apps of a stack: one App object each, the same bytes on every substrate."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi

from bex_operator import api
from components import objects
from components.manifests import apps as manifests


@dataclass(frozen=True, slots=True)
class AppSetArgs:
    """Which apps to run, and where."""

    apps: Sequence[api.App]
    namespace: str
    builders: Sequence[pulumi.Resource] = field(default_factory=tuple)
    """What Apps with a repository come after; those of an image do not wait for it."""


class AppSet(pulumi.ComponentResource):
    """App objects; each is done when the operator reports it Ready (or parked)."""

    def __init__(
        self, name: str, args: AppSetArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:AppSet", name, None, opts)
        for manifest in manifests.render(args.apps, args.namespace):
            after = list(args.builders) if "repo" in manifest["spec"] else None
            objects.register(
                manifest["metadata"]["name"],
                manifest,
                pulumi.ResourceOptions(parent=self, depends_on=after),
            )
        self.register_outputs({"names": [app.name for app in args.apps]})
