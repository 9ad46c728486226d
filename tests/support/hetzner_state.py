"""What a made-up Hetzner project holds: things by kind, actions that take a while, and selectors.

Its clock is the number of requests it has answered, so that a test never depends on time.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support import hetzner_catalog as catalog

Thing = dict[str, Any]
CREATED = "2026-11-22T12:00:00+00:00"

SINGULAR = {
    "servers": "server",
    "networks": "network",
    "load_balancers": "load_balancer",
    "firewalls": "firewall",
    "placement_groups": "placement_group",
    "ssh_keys": "ssh_key",
    "volumes": "volume",
    "primary_ips": "primary_ip",
    "floating_ips": "floating_ip",
    "certificates": "certificate",
    "images": "image",
    "server_types": "server_type",
    "load_balancer_types": "load_balancer_type",
    "locations": "location",
    "datacenters": "datacenter",
}
STATUSES = {
    "unauthorized": 401,
    "token_readonly": 403,
    "forbidden": 403,
    "resource_limit_exceeded": 403,
    "not_found": 404,
    "uniqueness_error": 409,
    "conflict": 409,
    "resource_unavailable": 412,
    "placement_error": 412,
    "invalid_input": 422,
    "resource_in_use": 422,
    "must_be_unassigned": 422,
    "service_error": 422,
    "locked": 423,
    "protected": 423,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "unavailable": 503,
    "timeout": 504,
}


class Refused(Exception):
    """The API says no."""

    def __init__(self, code: str, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return STATUSES[self.code]


@dataclass(slots=True)
class Pending:
    """An action that runs until the clock has come so far."""

    action: Thing
    due: int
    effect: Callable[[], None] | None
    error: str | None


@dataclass(slots=True)
class Project:
    """One project and what may be made in it."""

    limits: dict[str, int] = field(default_factory=dict)
    """Most things of a kind; none: no limit."""
    action_requests: int = 2
    """Requests an action takes from its start to its end."""
    things: dict[str, dict[int, Thing]] = field(default_factory=dict)
    actions: dict[int, Thing] = field(default_factory=dict)
    clock: int = 0
    failing: dict[str, str] = field(default_factory=dict)
    """Commands (like `create_server`) whose next action fails, with the code of its error."""
    _pending: list[Pending] = field(default_factory=list)
    _ids: Any = field(default_factory=lambda: itertools.count(1000))

    def __post_init__(self) -> None:
        """Fill the shelves."""
        shelves: dict[str, Iterable[Thing]] = {
            "locations": catalog.locations(),
            "datacenters": catalog.datacenters(),
            "server_types": catalog.types_of_servers(),
            "load_balancer_types": catalog.types_of_load_balancers(),
            "images": catalog.images(),
        }
        for kind in SINGULAR:
            self.things[kind] = {each["id"]: each for each in shelves.get(kind, ())}

    def tick(self) -> None:
        """Let one request's time pass: what is due ends."""
        self.clock += 1
        due = [each for each in self._pending if each.due <= self.clock]
        self._pending = [each for each in self._pending if each.due > self.clock]
        for each in due:
            each.action.update(progress=100, finished=CREATED, status="success")
            if each.error is not None:
                error = {"code": each.error, "message": f"{each.action['command']} failed"}
                each.action.update(status="error", error=error)
            elif each.effect is not None:
                each.effect()

    def act(
        self, command: str, kind: str, thing: Thing, effect: Callable[[], None] | None = None
    ) -> Thing:
        """Start an action; *effect* happens when it ends well."""
        action = {
            "id": next(self._ids),
            "command": command,
            "status": "running",
            "progress": 0,
            "started": CREATED,
            "finished": None,
            "resources": [{"id": thing["id"], "type": SINGULAR[kind]}],
            "error": None,
        }
        self.actions[action["id"]] = action
        error = self.failing.pop(command, None)
        self._pending.append(Pending(action, self.clock + self.action_requests, effect, error))
        return action

    def add(self, kind: str, thing: Thing) -> Thing:
        """Put a new thing into the project, whole."""
        name = thing.get("name")
        if name is not None and any(each["name"] == name for each in self.things[kind].values()):
            raise Refused("uniqueness_error", f"{SINGULAR[kind]} name {name!r} is already used")
        if len(self.things[kind]) >= self.limits.get(kind, 10**6):
            raise Refused("resource_limit_exceeded", f"{SINGULAR[kind]} limit exceeded")
        made = {
            "id": next(self._ids),
            "created": CREATED,
            "labels": {},
            "protection": {"delete": False},
            **thing,
        }
        self.things[kind][made["id"]] = made
        return made

    def find(self, kind: str, wanted: Any) -> Thing:
        """Find by number or by name."""
        for each in self.things[kind].values():
            if str(each["id"]) == str(wanted) or each.get("name") == wanted:
                return each
        raise Refused("not_found", f"{SINGULAR[kind]} with ID {wanted!r} not found")

    def remove(self, kind: str, thing: Thing) -> None:
        """Take it out; other things forget it."""
        self.things[kind].pop(thing["id"], None)
        for network in self.things["networks"].values():
            members = network.get(kind, [])
            members[:] = [number for number in members if number != thing["id"]]
        if kind == "servers":
            self._forget_server(thing["id"])

    def _forget_server(self, number: int) -> None:
        for group in self.things["placement_groups"].values():
            group["servers"] = [each for each in group["servers"] if each != number]
        for volume in self.things["volumes"].values():
            if volume["server"] == number:
                volume["server"] = None
        for address in list(self.things["primary_ips"].values()):
            if address["assignee_id"] == number:
                address["assignee_id"] = None
                if address["auto_delete"]:
                    self.things["primary_ips"].pop(address["id"])

    def select(self, kind: str, query: Mapping[str, str], *, several: Any = None) -> list[Thing]:
        """List what a query asks for, in its order."""
        found = list(self.things[kind].values())
        for key in ("name", "type", "status", "architecture", "fingerprint", "ip"):
            values = several(key) if several else [query[key]] if key in query else []
            if values:
                found = [each for each in found if str(each.get(key)) in values]
        if "label_selector" in query:
            wanted = selector(query["label_selector"])
            found = [each for each in found if wanted(each.get("labels", {}))]
        key, _, direction = query.get("sort", "id").partition(":")
        return sorted(found, key=lambda each: each[key], reverse=direction == "desc")


def selector(text: str) -> Callable[[Mapping[str, str]], bool]:
    """Read a label selector: `a=b`, `a==b`, `a!=b`, `a`, `!a`, `a in (b,c)`, `a notin (b,c)`.

    Raises:
        Refused: it is none.
    """
    terms = [_term(part.strip()) for part in re.split(r",(?![^(]*\))", text) if part.strip()]
    return lambda labels: all(term(labels) for term in terms)


def _term(text: str) -> Callable[[Mapping[str, str]], bool]:
    key = r"([\w./-]+)"
    if found := re.fullmatch(rf"{key}\s+(in|notin)\s+\(([^)]*)\)", text):
        name, values = found[1], {each.strip() for each in found[3].split(",")}
        if found[2] == "in":
            return lambda labels: labels.get(name) in values
        return lambda labels: name not in labels or labels[name] not in values
    if found := re.fullmatch(rf"{key}\s*(==|=|!=)\s*([\w.-]*)", text):
        name, value = found[1], found[3]
        if found[2] == "!=":
            return lambda labels: labels.get(name) != value
        return lambda labels: labels.get(name) == value
    if found := re.fullmatch(rf"!\s*{key}", text):
        name = found[1]
        return lambda labels: name not in labels
    if found := re.fullmatch(key, text):
        name = found[1]
        return lambda labels: name in labels
    raise Refused("invalid_input", f"label_selector {text!r} is not valid")
