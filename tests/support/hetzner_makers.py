"""How things come into a made-up Hetzner project, with the API's own refusals."""

import hashlib
import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.hetzner_state import CREATED, Project, Refused, Thing

GROUP_SIZE = 10
Answer = dict[str, Any]


def create(project: Project, kind: str, body: Mapping[str, Any]) -> Answer:
    """Answer `POST /KIND`."""
    maker = _MAKERS.get(kind)
    if maker is None:
        raise Refused("not_found", f"{kind} cannot be created")
    return maker(project, body)


def server(project: Project, body: Mapping[str, Any]) -> Answer:
    """Make a server with its addresses; it runs once its action has ended."""
    kind = _needed(project, "server_types", body, "server_type")
    place = _place(project, body)
    offers = {each["name"]: each for each in kind["locations"]}
    if place["name"] not in offers:
        raise Refused("invalid_input", f"unsupported location for server type {kind['name']}")
    if not offers[place["name"]]["available"]:
        raise Refused("resource_unavailable", f"{kind['name']} is sold out in {place['name']}")
    image = _needed(project, "images", body, "image")
    group = None
    if body.get("placement_group"):
        group = project.find("placement_groups", body["placement_group"])
        if len(group["servers"]) >= GROUP_SIZE:
            raise Refused("placement_error", f"placement group {group['name']} is full")
    made = project.add(
        "servers",
        {
            "name": body["name"],
            "status": "initializing",
            "server_type": kind,
            "location": place,
            "datacenter": project.find("datacenters", f"{place['name']}-dc1"),
            "image": image,
            "iso": None,
            "labels": dict(body.get("labels") or {}),
            "protection": {"delete": False, "rebuild": False},
            "locked": False,
            "rescue_enabled": False,
            "backup_window": None,
            "volumes": [],
            "load_balancers": [],
            "placement_group": group,
            "primary_disk_size": kind["disk"],
            "outgoing_traffic": 0,
            "ingoing_traffic": 0,
            "included_traffic": 0,
            "private_net": [],
        },
    )
    made["public_net"] = _public_net(project, made, body.get("public_net") or {})
    for number in body.get("networks") or ():
        join(project.find("networks", number), "servers", made)
    if group is not None:
        group["servers"].append(made["id"])
    for each in body.get("firewalls") or ():
        applied = {"type": "server", "server": {"id": made["id"]}}
        project.find("firewalls", each["firewall"])["applied_to"].append(applied)

    def runs() -> None:
        made["status"] = "running"

    action = project.act("create_server", "servers", made, runs)
    later = [project.act("start_server", "servers", made)]
    return {"server": made, "action": action, "next_actions": later, "root_password": None}


def _public_net(project: Project, made: Thing, wanted: Mapping[str, Any]) -> Thing:
    found: Thing = {"floating_ips": [], "firewalls": [], "ipv4": None, "ipv6": None}
    if wanted.get("enable_ipv4", True):
        if given := wanted.get("ipv4"):
            address = project.find("primary_ips", given)
        else:
            body = {"name": f"primary_ip-{made['id']}", "type": "ipv4", "auto_delete": True}
            address = primary_ip(project, {**body, "location": made["location"]["name"]})[
                "primary_ip"
            ]
        address["assignee_id"] = made["id"]
        found["ipv4"] = {
            "id": address["id"],
            "ip": address["ip"],
            "blocked": False,
            "dns_ptr": "server.example",
        }
    if wanted.get("enable_ipv6", True):
        found["ipv6"] = {"id": 1, "ip": "2001:db8::/64", "blocked": False, "dns_ptr": []}
    return found


def network(project: Project, body: Mapping[str, Any]) -> Answer:
    """Make a private network."""
    ipaddress.ip_network(body["ip_range"])
    made = project.add(
        "networks",
        {
            "name": body["name"],
            "ip_range": body["ip_range"],
            "subnets": [subnet(each) for each in body.get("subnets") or ()],
            "routes": list(body.get("routes") or ()),
            "servers": [],
            "load_balancers": [],
            "expose_routes_to_vswitch": False,
            "labels": dict(body.get("labels") or {}),
        },
    )
    return {"network": made}


def load_balancer(project: Project, body: Mapping[str, Any]) -> Answer:
    """Make a load balancer."""
    number = len(project.things["load_balancers"]) + 1
    made = project.add(
        "load_balancers",
        {
            "name": body["name"],
            "load_balancer_type": _needed(
                project, "load_balancer_types", body, "load_balancer_type"
            ),
            "location": _place(project, body),
            "algorithm": body.get("algorithm") or {"type": "round_robin"},
            "services": list(body.get("services") or ()),
            "targets": list(body.get("targets") or ()),
            "public_net": {
                "enabled": True,
                "ipv4": {"ip": f"198.51.100.{number % 250}", "dns_ptr": None},
                "ipv6": {"ip": "2001:db8::1", "dns_ptr": None},
            },
            "private_net": [],
            "labels": dict(body.get("labels") or {}),
            "outgoing_traffic": 0,
            "ingoing_traffic": 0,
            "included_traffic": 0,
        },
    )
    if body.get("network"):
        join(project.find("networks", body["network"]), "load_balancers", made)
    action = project.act("create_load_balancer", "load_balancers", made)
    return {"load_balancer": made, "action": action}


def firewall(project: Project, body: Mapping[str, Any]) -> Answer:
    """Make a firewall, applied to servers or to a selector."""
    made = project.add(
        "firewalls",
        {
            "name": body["name"],
            "rules": [rule_of(each) for each in body.get("rules") or ()],
            "applied_to": list(body.get("apply_to") or ()),
            "labels": dict(body.get("labels") or {}),
        },
    )
    return {"firewall": made, "actions": [project.act("set_firewall_rules", "firewalls", made)]}


def placement_group(project: Project, body: Mapping[str, Any]) -> Answer:
    """Make a placement group."""
    if body.get("type") != "spread":
        raise Refused("invalid_input", "type must be spread")
    made = project.add(
        "placement_groups",
        {
            "name": body["name"],
            "type": "spread",
            "servers": [],
            "labels": dict(body.get("labels") or {}),
        },
    )
    return {"placement_group": made, "action": None}


def ssh_key(project: Project, body: Mapping[str, Any]) -> Answer:
    """Make an SSH key; both its name and the key itself are unique."""
    if not body.get("name") or not body.get("public_key"):
        fields = [{"name": key, "messages": ["is missing"]} for key in ("name", "public_key")]
        raise Refused("invalid_input", "invalid input", {"fields": fields})
    held = project.things["ssh_keys"].values()
    if any(each["public_key"] == body["public_key"] for each in held):
        raise Refused("uniqueness_error", "SSH key not unique")
    digest = hashlib.md5(body["public_key"].encode(), usedforsecurity=False).hexdigest()
    fingerprint = ":".join(digest[at : at + 2] for at in range(0, 32, 2))
    key = {"name": body["name"], "public_key": body["public_key"], "fingerprint": fingerprint}
    return {"ssh_key": project.add("ssh_keys", {**key, "labels": dict(body.get("labels") or {})})}


def volume(project: Project, body: Mapping[str, Any]) -> Answer:
    """Make a volume, attached if a server is named."""
    if body["size"] < 10:
        raise Refused("invalid_input", "size must be at least 10")
    held = project.find("servers", body["server"]) if body.get("server") else None
    made = project.add(
        "volumes",
        {
            "name": body["name"],
            "size": body["size"],
            "server": held["id"] if held else None,
            "location": held["location"] if held else _place(project, body),
            "linux_device": "/dev/disk/by-id/scsi-0HC_Volume_1",
            "format": body.get("format"),
            "status": "available",
            "labels": dict(body.get("labels") or {}),
        },
    )
    return {
        "volume": made,
        "action": project.act("create_volume", "volumes", made),
        "next_actions": [],
    }


def primary_ip(project: Project, body: Mapping[str, Any]) -> Answer:
    """Make an address that outlives its server, unless it is told to go with it."""
    place = _place(project, body)
    made = project.add(
        "primary_ips",
        {
            "name": body["name"],
            "type": body["type"],
            "ip": f"203.0.113.{len(project.things['primary_ips']) + 1}",
            "assignee_type": "server",
            "assignee_id": body.get("assignee_id"),
            "auto_delete": bool(body.get("auto_delete")),
            "blocked": False,
            "dns_ptr": [],
            "location": place,
            "datacenter": project.find("datacenters", f"{place['name']}-dc1"),
            "labels": dict(body.get("labels") or {}),
        },
    )
    return {"primary_ip": made, "action": None}


def floating_ip(project: Project, body: Mapping[str, Any]) -> Answer:
    """Make a floating address."""
    made = project.add(
        "floating_ips",
        {
            "name": body.get("name") or f"floating-ip-{project.clock}",
            "description": body.get("description"),
            "type": body["type"],
            "ip": f"203.0.113.{200 + len(project.things['floating_ips']) % 50}",
            "server": body.get("server"),
            "home_location": project.find("locations", body.get("home_location") or "fsn1"),
            "blocked": False,
            "dns_ptr": [],
            "labels": dict(body.get("labels") or {}),
        },
    )
    return {"floating_ip": made, "action": None}


def certificate(project: Project, body: Mapping[str, Any]) -> Answer:
    """Make a certificate; a managed one is asked for by an action."""
    kind = body.get("type") or "uploaded"
    made = project.add(
        "certificates",
        {
            "name": body["name"],
            "type": kind,
            "certificate": body.get("certificate"),
            "domain_names": list(body.get("domain_names") or ()),
            "fingerprint": "00:01",
            "not_valid_before": CREATED,
            "not_valid_after": CREATED,
            "status": None,
            "used_by": [],
            "labels": dict(body.get("labels") or {}),
        },
    )
    if kind == "uploaded":
        return {"certificate": made}
    action = project.act("create_certificate", "certificates", made)
    return {"certificate": made, "action": action}


def _place(project: Project, body: Mapping[str, Any]) -> Thing:
    if body.get("location"):
        return project.find("locations", body["location"])
    zone = body.get("network_zone", "eu-central")
    return next(e for e in project.things["locations"].values() if e["network_zone"] == zone)


def _needed(project: Project, kind: str, body: Mapping[str, Any], key: str) -> Thing:
    try:
        return project.find(kind, body[key])
    except Refused as missing:
        raise Refused("invalid_input", f"{key} {body[key]!r} does not exist") from missing


def rule_of(given: Mapping[str, Any]) -> Thing:
    """Complete a firewall's rule."""
    blank = {"source_ips": [], "destination_ips": [], "port": None, "description": None}
    return {**blank, **given}


def subnet(given: Mapping[str, Any]) -> Thing:
    """Complete a subnet."""
    text = given.get("ip_range") or "10.0.0.0/24"
    gateway = str(next(ipaddress.ip_network(text).hosts()))
    return {"vswitch_id": None, **given, "ip_range": text, "gateway": gateway}


def join(network_: Thing, kind: str, member: Thing) -> None:
    """Give *member* an address in a network."""
    number = len(network_["servers"]) + len(network_["load_balancers"]) + 2
    address = str(ipaddress.ip_network(network_["ip_range"])[number])
    attached = {"network": network_["id"], "ip": address, "alias_ips": [], "mac_address": "86:00"}
    member["private_net"].append(attached)
    network_[kind].append(member["id"])


_MAKERS: dict[str, Callable[[Project, Mapping[str, Any]], Answer]] = {
    "servers": server,
    "networks": network,
    "load_balancers": load_balancer,
    "firewalls": firewall,
    "placement_groups": placement_group,
    "ssh_keys": ssh_key,
    "volumes": volume,
    "primary_ips": primary_ip,
    "floating_ips": floating_ip,
    "certificates": certificate,
}
