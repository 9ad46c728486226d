"""The operator in the app cluster: namespaces, the App kind, its rights, and its pods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components import objects
from components.manifests import operator as manifests
from components.manifests import operator_pod


@dataclass(frozen=True, slots=True)
class AppOperatorArgs:
    """What the operator's objects depend on."""

    pod: operator_pod.Pod | None = None
    """None where the operator runs outside the cluster."""
    needed: Sequence[Mapping[str, Any]] = ()
    """What the pods mount, and those that they make want."""
    users: tuple[str, ...] = ()
    """Who else has the operator's rights: one that runs from source."""
    edge_user: str | None = None
    """Name the edge's feeder presents to the API server; it only reads."""

    @property
    def certifies(self) -> bool:
        """Tell whether the operator is told who signs certificates of hosts."""
        return self.pod is not None and operator_pod.ISSUER_OPTION in self.pod.options


class AppOperator(pulumi.ComponentResource):
    """Namespaces, the App definition, the operator's and the edge's rights, the operator's pods."""

    objects: Sequence[pulumi.CustomResource]
    """What Apps and rights are made of, for whatever must come after it."""
    pods: Sequence[pulumi.CustomResource]
    """The operator itself; empty where it runs outside the cluster."""

    def __init__(
        self, name: str, args: AppOperatorArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:AppOperator", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.objects = [
            _register(name, manifest, child)
            for manifest in manifests.render(
                users=args.users, edge_user=args.edge_user, certifies=args.certifies
            )
        ]
        after = pulumi.ResourceOptions(parent=self, depends_on=list(self.objects))
        needed = [_register(name, manifest, after) for manifest in args.needed]
        after = pulumi.ResourceOptions(parent=self, depends_on=[*self.objects, *needed])
        rendered = [] if args.pod is None else operator_pod.render(args.pod)
        self.pods = [_register(name, manifest, after) for manifest in rendered]
        self.register_outputs({})


def _register(
    name: str, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions
) -> pulumi.CustomResource:
    kind = manifest["kind"].lower()
    return objects.register(f"{name}-{kind}-{manifest['metadata']['name']}", manifest, opts)
