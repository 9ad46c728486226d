"""What of a stack is (still) at Hetzner, told by labels and by the names that controllers give.

Sources of labels: CAPH `api/*/tags.go`; hcloud-cloud-controller-manager `hcops/load_balancer.go`;
csi-driver `driver/controller.go`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bex_stack.hetzner import observed
from bex_stack.hetzner.inventory import STACK_LABEL, Inventory

SERVICE_LABEL = "hcloud-ccm/service-uid"
CSI_LABEL, CSI_VALUE = "managed-by", "csi-driver"
COMMANDS = {
    "servers": "server",
    "load_balancers": "load-balancer",
    "networks": "network",
    "firewalls": "firewall",
    "placement_groups": "placement-group",
    "ssh_keys": "ssh-key",
    "volumes": "volume",
    "primary_ips": "primary-ip",
    "floating_ips": "floating-ip",
    "certificates": "certificate",
    "images": "image",
}


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that should be gone."""

    thing: observed.Thing
    because: str
    """Why it is the stack's."""
    is_certain: bool
    """False: a controller of some cluster made it, and other clusters have servers there, too."""

    @property
    def command(self) -> str:
        """What removes it, by Hetzner's own command-line tool."""
        kind = COMMANDS[self.thing.kind]
        first = f"hcloud {kind} disable-protection {self.thing.id} delete && "
        return f"{first if self.thing.protected else ''}hcloud {kind} delete {self.thing.id}"

    def as_dict(self) -> dict[str, Any]:
        """Say it to programs."""
        return {
            "kind": self.thing.kind,
            "id": self.thing.id,
            "name": self.thing.name,
            "because": self.because,
            "certain": self.is_certain,
            "command": self.command,
        }


def is_labelled(thing: observed.Thing, wanted: Inventory) -> bool:
    """Say whether its labels make it the stack's."""
    return thing.labels.get(STACK_LABEL) == wanted.stack or wanted.owned_label in thing.labels


def is_ours(thing: observed.Thing, wanted: Inventory) -> bool:
    """Say whether labels, or a name that only the stack gives, make it the stack's."""
    return bool(_reason(thing, wanted))


def audit(wanted: Inventory, things: Iterable[observed.Thing]) -> list[Leftover]:
    """List what is left of a stack, certain ones first, by kind and name."""
    held = list(things)
    found = [Leftover(each, reason, True) for each in held if (reason := _reason(each, wanted))]
    alone = _is_alone(wanted, held)
    for each in held:
        reason = _controllers(each)
        if reason and not _reason(each, wanted) and not _is_of_another(each):
            found.append(Leftover(each, reason, is_certain=alone))
    return sorted(found, key=lambda e: (not e.is_certain, e.thing.kind, e.thing.name, e.thing.id))


def _reason(thing: observed.Thing, wanted: Inventory) -> str:
    if thing.labels.get(STACK_LABEL) == wanted.stack:
        return f"label {STACK_LABEL}={wanted.stack}"
    if wanted.owned_label in thing.labels:
        return f"label {wanted.owned_label}"
    if _is_of_another(thing):
        return ""
    if any((thing.kind, thing.name) == (each.kind, each.name) for each in wanted.names):
        return "no label, but the name of something of the stack's"
    if pattern := _patterns(wanted).get(thing.kind):
        return (
            "no label, but a name as Cluster API gives it"
            if re.fullmatch(pattern, thing.name)
            else ""
        )
    return ""


def _patterns(wanted: Inventory) -> dict[str, str]:
    """Names that CAPH and Cluster API make up: a known beginning and some letters at random."""
    cluster, end = re.escape(wanted.cluster), "[a-z0-9]{5}"
    pools = "|".join(re.escape(each.pool) for each in wanted.servers)
    return {
        "servers": rf"{cluster}-(?:{pools})(?:-[a-z0-9]{{5,10}})?-{end}",
        "load_balancers": rf"{cluster}-kube-apiserver-{end}",
    }


def _controllers(thing: observed.Thing) -> str:
    if SERVICE_LABEL in thing.labels:
        return f"label {SERVICE_LABEL}: of a Service"
    if thing.labels.get(CSI_LABEL) == CSI_VALUE:
        claim = thing.labels.get("pvc-name", "?")
        return f"label {CSI_LABEL}={CSI_VALUE}: of the claim {claim}"
    if thing.kind == "volumes" and re.fullmatch(r"pvc-[0-9a-f-]{36}", thing.name):
        return "name as the CSI driver gives it"
    return ""


def _is_of_another(thing: observed.Thing) -> bool:
    """A label of another stack or of another cluster."""
    return STACK_LABEL in thing.labels or any(
        key.startswith("caph-cluster-") for key in thing.labels
    )


def _is_alone(wanted: Inventory, things: Sequence[observed.Thing]) -> bool:
    """No other cluster can own what a controller made: nobody else has servers here."""
    return all(is_ours(each, wanted) for each in things if each.kind == "servers")
