"""In which order a stack at Hetzner goes, so that nothing is left: pure.

What controllers made must go while they still run: volumes by the CSI driver, load balancers of
Services by the cloud's controller. Then Cluster API takes its machines down, then day 0 goes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bex_stack.hetzner import leaks, observed
from bex_stack.hetzner.inventory import STACK_LABEL, Inventory

Object = Mapping[str, Any]
Reference = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What of an app cluster a drain has to do with; whole objects as the API server has them."""

    apps: Sequence[Object] = ()
    services: Sequence[Object] = ()
    claims: Sequence[Object] = ()
    workloads: Sequence[Object] = ()
    """Deployments and StatefulSets."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is done, and waited for, before the next."""

    name: str
    deed: str
    """What `drain` does: delete, scale, unprotect; empty where a command does it."""
    what: tuple[Reference, ...]
    waits_for: str
    timeout_seconds: int
    command: str = ""
    """Where bex cannot do it: the command."""
    things: tuple[observed.Thing, ...] = field(default=())

    @property
    def is_ours(self) -> bool:
        """Say whether bex does it."""
        return not self.command

    def as_dict(self) -> dict[str, Any]:
        """Say it to programs."""
        return asdict(self)


def plan(
    wanted: Inventory, things: Iterable[observed.Thing], seen: Seen | None, where: str
) -> list[Step]:
    """Plan a stack's end; *seen* is None without an app cluster, *where* goes to `pulumi`."""
    held = list(things)
    cluster = _in_cluster(seen) if seen is not None else []
    return [*cluster, *_protection(wanted, held), *_by_pulumi(wanted, where), _audit(where)]


def has_machines(wanted: Inventory, things: Iterable[observed.Thing]) -> bool:
    """Say whether the app cluster still has servers, so that its controllers may run."""
    return any(each.kind == "servers" and wanted.owned_label in each.labels for each in things)


def holds_claim(workload: Object, claims: Iterable[Object]) -> bool:
    """Say whether a workload's pods use a claim, by name or by its own templates."""
    namespace, spec = workload["metadata"].get("namespace"), workload["spec"]
    if spec.get("volumeClaimTemplates"):
        return True
    names = {
        claim["metadata"]["name"]
        for claim in claims
        if claim["metadata"].get("namespace") == namespace
    }
    volumes = spec["template"]["spec"].get("volumes") or []
    used = {(each.get("persistentVolumeClaim") or {}).get("claimName") for each in volumes}
    return bool(used & names)


def _in_cluster(seen: Seen) -> list[Step]:
    balancers = [e for e in seen.services if e["spec"].get("type") == "LoadBalancer"]
    held = [
        each
        for each in seen.workloads
        if each["spec"].get("replicas", 1) and holds_claim(each, seen.claims)
    ]
    steps = [
        Step("apps", "delete", _named("App", seen.apps), "the operator to let go of each App", 600),
        Step(
            "load balancers of Services",
            "delete",
            _named("Service", balancers),
            "the cloud's controller to delete each load balancer",
            900,
        ),
        Step("pods with volumes", "scale", _references(held), "their pods to end", 900),
        Step(
            "volumes",
            "delete",
            _named("PersistentVolumeClaim", seen.claims),
            "the CSI driver to delete each volume",
            900,
        ),
    ]
    return [each for each in steps if each.what]


def _protection(wanted: Inventory, things: Sequence[observed.Thing]) -> list[Step]:
    """Only what carries the stack's own label is ever touched."""
    found = tuple(
        each for each in things if each.protected and each.labels.get(STACK_LABEL) == wanted.stack
    )
    if not found:
        return []
    what = tuple((each.kind, "", each.name) for each in found)
    return [Step("protection", "unprotect", what, "Hetzner's action to end", 120, "", found)]


def _by_pulumi(wanted: Inventory, where: str) -> list[Step]:
    def command(rest: str) -> str:
        return f"pulumi {rest} {where}".rstrip()

    return [
        Step(
            "Pulumi's own protection",
            "",
            (("load_balancers", "", f"{wanted.cluster}-edge"),),
            "nothing",
            60,
            command("state unprotect --all --yes"),
        ),
        Step(
            "cluster, then day 0",
            "",
            (("Cluster", "bex-capi", wanted.cluster), ("servers", "", f"{wanted.cluster}-infra-0")),
            "Cluster API to delete every machine, then each resource of day 0",
            3600,
            command("destroy"),
        ),
    ]


def _audit(where: str) -> Step:
    command = f"bex audit {where}".rstrip()
    return Step("audit", "", (), "nothing to be left", 60, command)


def _named(kind: str, objects: Sequence[Object]) -> tuple[Reference, ...]:
    return tuple(
        (kind, each["metadata"].get("namespace", ""), each["metadata"]["name"]) for each in objects
    )


def _references(objects: Sequence[Object]) -> tuple[Reference, ...]:
    return tuple(
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])
        for each in objects
    )


def in_the_way(wanted: Inventory, things: Iterable[observed.Thing]) -> list[observed.Thing]:
    """List what controllers made and have not taken away yet, of this stack for certain."""
    kinds = ("volumes", "load_balancers")
    return [
        each.thing
        for each in leaks.audit(wanted, things)
        if each.is_certain
        and each.thing.kind in kinds
        and (leaks.SERVICE_LABEL in each.thing.labels or leaks.CSI_LABEL in each.thing.labels)
    ]
