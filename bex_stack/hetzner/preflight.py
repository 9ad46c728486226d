"""What must be so before the first thing is made at Hetzner: every rule, each with what mends it.

Pure: rules over an inventory and one look at the project. What the API does not tell (a project's
limits) is told as counts, for a person to compare.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bex_stack.hetzner import leaks, observed
from bex_stack.hetzner.inventory import Inventory, Servers
from components import server_types
from components.manifests import caph

GROUPS_PER_PROJECT = 50
"""Placement groups a project may have. Source: hetzner-k3s, `placement_group_manager`."""
MEMBERS_PER_NETWORK = 100
"""Servers and load balancers in a network. Source: Hetzner's documentation of networks."""
SURGE = 1
"""A rollout makes a machine before it removes one."""
REQUESTS_PER_THING = 15
"""One to make it, and some to ask how its action goes; measured nowhere, generous."""
IMAGE_LABEL = "caph-image-name"
"""CAPH finds snapshots by it: they have no names. Source: CAPH, `getServerImage`."""
ARCHITECTURE = "x86"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that is broken."""

    field: str
    """What it is about: a key of the stack file, or a name at Hetzner."""
    value: str
    rule: str
    mend: str
    blocks: bool = True
    """False: worth knowing, and nothing that stops an `up`."""

    def __str__(self) -> str:
        """Say it in two lines."""
        return f"{self.field} {self.value}: {self.rule}\n    {self.mend}"

    def as_dict(self) -> dict[str, Any]:
        """Say it to programs."""
        return asdict(self)


def check(wanted: Inventory, project: observed.Project, *, today: str) -> list[Finding]:
    """Return every rule that the project breaks; *today* is an ISO date."""
    return [
        *_token(project),
        *_places(wanted, project),
        *_types(wanted, project, today),
        *_balancers(wanted, project),
        *_groups(wanted, project),
        *_network(wanted),
        *_names(wanted, project),
        *_key(wanted, project),
        *_machine_image(wanted, project),
        *_infra_image(wanted, project),
        *_budget(wanted, project),
    ]


def counts(wanted: Inventory, project: observed.Project) -> dict[str, dict[str, int]]:
    """Count by kind what is there, what of it is ours, and the most there may be with this stack.

    The API does not tell a project's limits; its console does.
    """
    most = Counter({name.kind: 0 for name in wanted.names})
    most.update(name.kind for name in wanted.names if name.kind != "servers")
    most["servers"] = sum(each.most for each in wanted.servers)
    most["load_balancers"] = len(wanted.balancers)
    most["volumes"] = len(wanted.volumes_gib)
    most["primary_ips"] = most["servers"]
    found = {}
    for kind, number in sorted(most.items()):
        there = project.of_kind(kind)
        ours = sum(leaks.is_ours(each, wanted) for each in there)
        found[kind] = {"there": len(there), "ours": ours, "most": len(there) - ours + number}
    return found


def _token(project: observed.Project) -> Iterator[Finding]:
    if not project.may_write:
        yield Finding(
            "hcloud:token",
            "(secret)",
            "it may only read, and the stack is made with it",
            "make a token with the permission Read & Write in the project's console",
        )


def _places(wanted: Inventory, project: observed.Project) -> Iterator[Finding]:
    for place in dict.fromkeys(each.location for each in wanted.servers):
        zone = project.locations.get(place)
        if zone != server_types.NETWORK_ZONES[place]:
            yield Finding(
                "bex:location",
                place,
                f"Hetzner puts it into {zone or 'no network zone'}, and the stack's network would "
                f"lie in {server_types.NETWORK_ZONES[place]}",
                f"choose one of {', '.join(sorted(project.locations))}",
            )


def _types(wanted: Inventory, project: observed.Project, today: str) -> Iterator[Finding]:
    offers = {(each.type, each.location): each for each in project.offers}
    seen: set[tuple[str, str, str]] = set()
    for servers in wanted.servers:
        key = (servers.setting, servers.type, servers.location)
        if servers.most and key not in seen:
            seen.add(key)
            yield from _type(servers, offers, today)


def _type(
    servers: Servers, offers: dict[tuple[str, str], observed.Offer], today: str
) -> Iterator[Finding]:
    offer = offers.get((servers.type, servers.location))
    others = sorted(kind for kind, place in offers if place == servers.location)
    known = [kind for kind in others if kind in server_types.TYPES]
    mend = f"set {servers.setting} to another type of {servers.location}: {', '.join(known)}"
    if offer is None:
        rule = f"Hetzner has no such server type in {servers.location}"
        yield Finding(servers.setting, servers.type, rule, mend)
        return
    if offer.architecture != ARCHITECTURE:
        rule = f"it is {offer.architecture}, and the stack's images are {ARCHITECTURE}"
        yield Finding(servers.setting, servers.type, rule, mend)
    if offer.gone_after is not None:
        gone = offer.gone_after < today
        rule = f"it is {'no longer sold' if gone else 'sold'} in {servers.location}"
        rule += f" {'since' if gone else 'only until'} {offer.gone_after}"
        yield Finding(servers.setting, servers.type, rule, mend, blocks=gone)
    if not offer.available:
        rule = f"Hetzner says it is sold out in {servers.location}"
        # Its flag is not always right, either way; the fallback pool is there for that.
        yield Finding(servers.setting, servers.type, rule, f"{mend}, or try", blocks=False)


def _balancers(wanted: Inventory, project: observed.Project) -> Iterator[Finding]:
    for balancer in wanted.balancers:
        most = project.balancer_targets.get(balancer.type)
        if most is None:
            known = ", ".join(sorted(project.balancer_targets))
            rule = "Hetzner has no such load balancer type"
            yield Finding("bex:loadBalancerType", balancer.type, rule, f"choose one of {known}")
        elif balancer.targets > most:
            yield Finding(
                "bex:loadBalancerType",
                balancer.type,
                f"{balancer.name} may have {balancer.targets} servers behind it, and this type "
                f"takes {most}",
                "choose a larger type, or fewer machines",
            )


def _groups(wanted: Inventory, project: observed.Project) -> Iterator[Finding]:
    ours = {each.id for each in project.of_kind("servers") if leaks.is_ours(each, wanted)}
    there = {each.name: each for each in project.of_kind("placement_groups")}
    for servers in wanted.servers:
        held = there.get(servers.group)
        strangers = len(set(held.members) - ours) if held else 0
        surge = 0 if servers.pool == "infra" else SURGE
        if servers.most + surge + strangers > caph.GROUP_SIZE:
            yield Finding(
                servers.counted_by,
                str(servers.most),
                f"placement group {servers.group} takes {caph.GROUP_SIZE} servers: these, "
                f"{surge} more while they are replaced, and {strangers} of others",
                f"at most {caph.GROUP_SIZE - surge - strangers} machines in this pool",
            )
    fresh = {each.group for each in wanted.servers} - there.keys()
    if len(there) + len(fresh) > GROUPS_PER_PROJECT:
        yield Finding(
            "placement groups",
            str(len(there)),
            f"a project has at most {GROUPS_PER_PROJECT}, and the stack makes {len(fresh)}",
            "use a project of its own, or fewer machines",
        )


def _network(wanted: Inventory) -> Iterator[Finding]:
    # The edge's and the control plane's load balancers are members, too.
    members = wanted.machines + len(wanted.balancers)
    if members > MEMBERS_PER_NETWORK:
        yield Finding(
            "bex:workersMax",
            str(wanted.machines),
            f"a network of Hetzner's has at most {MEMBERS_PER_NETWORK} members, and the app "
            f"cluster may have {members}",
            "fewer machines, or a second stack",
        )


def _names(wanted: Inventory, project: observed.Project) -> Iterator[Finding]:
    there = {(each.kind, each.name): each for each in project.things}
    for name in wanted.names:
        held = there.get((name.kind, name.name))
        if held is not None and not leaks.is_labelled(held, wanted):
            yield Finding(
                f"{name.kind} {name.name}",
                f"({held.id})",
                f"the name is taken by something without the label bex-stack={wanted.stack}",
                "rename or delete it, or set bex:clusterName to another name",
            )


def _key(wanted: Inventory, project: observed.Project) -> Iterator[Finding]:
    own = _key_itself(wanted.ssh_public_key)
    for held in project.of_kind("ssh_keys"):
        if own and _key_itself(held.text) == own and not leaks.is_labelled(held, wanted):
            yield Finding(
                "bex:sshPublicKey",
                f"{own[:24]}…",
                f"the project has this key already, as {held.name}; a key is in a project once",
                f"delete {held.name} there, or use a key of this stack's own",
            )


def _key_itself(text: str) -> str:
    """The key without its comment."""
    return " ".join(text.split()[:2])


def _machine_image(wanted: Inventory, project: observed.Project) -> Iterator[Finding]:
    name = wanted.machine_image
    found = [e for e in project.images if name in (e.labels.get(IMAGE_LABEL), e.name)]
    rule = ""
    if not found:
        rule = f"no image has that name or the label {IMAGE_LABEL}={name}"
        described = [each for each in project.images if each.description == name]
        if described:
            rule += f"; snapshot {described[0].id} is described so, and lacks the label"
    elif len(found) > 1:
        numbers = ", ".join(str(each.id) for each in found)
        rule = f"{len(found)} images have that name ({numbers}), and CAPH refuses to choose"
    elif found[0].status != "available":
        rule = f"image {found[0].id} is {found[0].status}"
    elif found[0].architecture != ARCHITECTURE:
        rule = f"image {found[0].id} is {found[0].architecture}, and machines are {ARCHITECTURE}"
    if rule:
        mend = "build the snapshot (docs/architecture.md, From local to hetzner) and label it: "
        mend += f"hcloud image add-label ID {IMAGE_LABEL}={name}"
        yield Finding("bex:machineImage", name, rule, mend)


def _infra_image(wanted: Inventory, project: observed.Project) -> Iterator[Finding]:
    name = wanted.infra_image
    if name is not None and name not in {each.name for each in project.images}:
        rule = "Hetzner has no image of that name any more"
        yield Finding("infra image", name, rule, "set another in components/pins.py")


def _budget(wanted: Inventory, project: observed.Project) -> Iterator[Finding]:
    named = {(each.kind, each.name) for each in project.things}
    servers = sum(leaks.is_ours(each, wanted) for each in project.of_kind("servers"))
    missing = sum((each.kind, each.name) not in named for each in wanted.names)
    missing += max(0, sum(each.least for each in wanted.servers) - servers)
    need, budget = missing * REQUESTS_PER_THING, project.budget
    if need > budget.remaining:
        hours = math.ceil(need / budget.limit)
        yield Finding(
            "API requests",
            f"{budget.remaining} of {budget.limit}",
            f"the stack needs about {need} to make {missing} things",
            f"wait until the budget has grown again (whole within {hours} h); who else uses it?",
        )
