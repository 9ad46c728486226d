"""The kinds the operator and the edge touch, and what each may do with them.

The cluster roles are made from these tables, and tests compare the tables with what is used.
"""

from dataclasses import dataclass

from bex_operator.api import names


@dataclass(frozen=True, slots=True)
class Right:
    """Verbs on one resource."""

    group: str
    resource: str
    verbs: tuple[str, ...]


READ = ("list", "watch")
"""What a cache needs."""
CHILD = ("get", "list", "watch", "create", "patch", "delete")
"""What an object made for an App needs; server-side apply is a patch that may create."""

OPERATOR: tuple[Right, ...] = (
    Right(names.GROUP, "apps", ("get", *READ, "patch")),
    Right(names.GROUP, "apps/status", ("patch",)),
    # Asked of whoever makes an App the blocking owner of something.
    Right(names.GROUP, "apps/finalizers", ("update",)),
    Right("apps", "deployments", CHILD),
    # Records of releases never change: no patch.
    Right("apps", "controllerrevisions", ("get", *READ, "create", "delete")),
    # A Job runs once for a release and never changes: no patch.
    Right("batch", "jobs", ("get", *READ, "create", "delete")),
    Right("", "services", CHILD),
    Right("networking.k8s.io", "ingresses", CHILD),
    Right("policy", "poddisruptionbudgets", CHILD),
    Right("autoscaling", "horizontalpodautoscalers", CHILD),
    Right("", "pods", READ),
    # How much room there is, for Apps that wait for some.
    Right("", "nodes", ("list",)),
    Right("", "namespaces", READ),
    Right("events.k8s.io", "events", ("create",)),
)
OPERATOR_IN_APPS: tuple[Right, ...] = (
    # Only the metadata is asked for, which RBAC cannot say.
    Right("", "secrets", ("get",)),
)
"""Where Apps live, namespace by namespace: whether a Secret that an App names is protected."""
OPERATOR_IN_SYSTEM: tuple[Right, ...] = (
    Right("coordination.k8s.io", "leases", ("get", "watch", "create", "update")),
)
"""In the platform's own namespace only."""
OPERATOR_IN_BUILDS: tuple[Right, ...] = (
    Right("batch", "jobs", ("get", *READ, "create", "patch", "delete")),
    Right("", "pods", (*READ, "delete")),
    Right("", "pods/log", ("get",)),
    # Written and never read: the credentials of steps, and their logs. They go with their Job.
    Right("", "secrets", ("create", "patch")),
    Right("", "configmaps", ("create", "patch")),
)
"""Where images are built, and nowhere else."""

OPERATOR_CERTIFYING: tuple[Right, ...] = (
    Right("cert-manager.io", "certificates", (*READ, "delete")),
)
"""Where cert-manager is to keep certificates of Apps' hosts; it makes them, and their Secrets."""

EDGE: tuple[Right, ...] = (
    Right("networking.k8s.io", "ingresses", READ),
    Right("", "services", READ),
    Right("discovery.k8s.io", "endpointslices", READ),
)
"""What the edge's feeder reads."""
