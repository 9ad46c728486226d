"""How things in a made-up Hetzner project change and go, with the API's own refusals."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.support import hetzner_makers as makers
from tests.support.hetzner_state import SINGULAR, Project, Refused, Thing

Answer = dict[str, Any]


def delete(project: Project, kind: str, thing: Thing) -> Answer:
    """Answer `DELETE /KIND/ID`; servers take an action to go."""
    if thing.get("protection", {}).get("delete"):
        raise Refused("protected", f"{SINGULAR[kind]} deletion is protected")
    if thing.get("locked"):
        raise Refused("locked", "the resource is locked")
    if kind == "firewalls" and thing["applied_to"]:
        raise Refused("resource_in_use", "firewall is still in use")
    if kind == "volumes" and thing["server"] is not None:
        raise Refused("must_be_unassigned", "volume is attached to a server")
    if kind == "primary_ips" and thing["assignee_id"] is not None:
        raise Refused("must_be_unassigned", "primary IP is assigned to a server")
    if kind == "servers":
        thing["status"] = "deleting"
        gone = project.act("delete_server", kind, thing, lambda: project.remove(kind, thing))
        return {"action": gone}
    project.remove(kind, thing)
    return {}


def change(project: Project, kind: str, thing: Thing, body: Mapping[str, Any]) -> Answer:
    """Answer `PUT /KIND/ID`: name and labels."""
    name = body.get("name", thing.get("name"))
    others = (each for each in project.things[kind].values() if each is not thing)
    if name is not None and any(each.get("name") == name for each in others):
        raise Refused("uniqueness_error", f"{SINGULAR[kind]} name {name!r} is already used")
    thing.update({key: body[key] for key in ("name", "labels") if key in body})
    return {SINGULAR[kind]: thing}


def act(project: Project, kind: str, thing: Thing, command: str, body: Mapping[str, Any]) -> Answer:
    """Answer `POST /KIND/ID/actions/COMMAND`."""
    if thing.get("locked"):
        raise Refused("locked", "the resource is locked")
    doer = _DOERS.get((kind, command)) or _DOERS.get(("*", command))
    if doer is None:
        raise Refused("not_found", f"{kind} have no action {command}")
    action = project.act(command, kind, thing, doer(project, kind, thing, body))
    return {"actions": [action]} if kind == "firewalls" else {"action": action}


def _protect(_project: Project, _kind: str, thing: Thing, body: Mapping[str, Any]) -> Any:
    return lambda: thing["protection"].update(body)


def _add_subnet(_project: Project, _kind: str, thing: Thing, body: Mapping[str, Any]) -> Any:
    made = makers.subnet(body)
    return lambda: thing["subnets"].append(made)


def _set_rules(_project: Project, _kind: str, thing: Thing, body: Mapping[str, Any]) -> Any:
    return lambda: thing.update(rules=[makers.rule_of(each) for each in body["rules"]])


def _unapply(_project: Project, _kind: str, thing: Thing, body: Mapping[str, Any]) -> Any:
    removed = list(body["remove_from"])
    left = [each for each in thing["applied_to"] if each not in removed]
    return lambda: thing.update(applied_to=left)


def _attach(project: Project, kind: str, thing: Thing, body: Mapping[str, Any]) -> Any:
    if kind == "volumes":
        number = project.find("servers", body["server"])["id"]
        return lambda: thing.update(server=number)
    found = project.find("networks", body["network"])
    if kind == "load_balancers" and thing["private_net"]:
        raise Refused("conflict", "load balancer is already attached")
    return lambda: makers.join(found, kind, thing)


def _detach(_project: Project, _kind: str, thing: Thing, _body: Mapping[str, Any]) -> Any:
    return lambda: thing.update(server=None)


def _unassign(_project: Project, _kind: str, thing: Thing, _body: Mapping[str, Any]) -> Any:
    return lambda: thing.update(assignee_id=None)


def _add_to(key: str) -> Callable[..., Any]:
    def doer(_project: Project, _kind: str, thing: Thing, body: Mapping[str, Any]) -> Any:
        return lambda: thing[key].append(dict(body))

    return doer


def _power(status: str) -> Callable[..., Any]:
    def doer(_project: Project, _kind: str, thing: Thing, _body: Mapping[str, Any]) -> Any:
        return lambda: thing.update(status=status)

    return doer


_DOERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("*", "change_protection"): _protect,
    ("networks", "add_subnet"): _add_subnet,
    ("firewalls", "set_rules"): _set_rules,
    ("firewalls", "remove_from_resources"): _unapply,
    ("firewalls", "apply_to_resources"): lambda p, k, thing, body: (
        lambda: thing["applied_to"].extend(body["apply_to"])
    ),
    ("load_balancers", "attach_to_network"): _attach,
    ("load_balancers", "add_target"): _add_to("targets"),
    ("load_balancers", "add_service"): _add_to("services"),
    ("servers", "attach_to_network"): _attach,
    ("servers", "poweron"): _power("running"),
    ("servers", "poweroff"): _power("off"),
    ("volumes", "attach"): _attach,
    ("volumes", "detach"): _detach,
    ("primary_ips", "unassign"): _unassign,
}
