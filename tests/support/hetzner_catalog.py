"""What a made-up Hetzner offers: locations, types, prices. The shapes are the API's, and so are the
names; the prices are invented, round, and nobody's.

Source of the shapes: the schemas of hcloud-go (`hcloud/schema`) and hcloud's domain classes.
"""

from typing import Any

from components import server_types

VAT = 19
CURRENCY = "EUR"
_CITIES = {
    "fsn1": ("DE", "Falkenstein"),
    "nbg1": ("DE", "Nuremberg"),
    "hel1": ("FI", "Helsinki"),
    "ash": ("US", "Ashburn, VA"),
    "hil": ("US", "Hillsboro, OR"),
    "sin": ("SG", "Singapore"),
}
_MONTHLY = {
    "cx23": 4,
    "cx33": 6,
    "cx43": 10,
    "cx53": 20,
    "cpx22": 8,
    "cpx32": 15,
    "cpx42": 30,
    "cpx52": 45,
    "cpx62": 60,
    "ccx13": 15,
    "ccx23": 30,
    "ccx33": 60,
    "ccx43": 120,
    "ccx53": 240,
    "ccx63": 360,
}
_BALANCERS = {"lb11": (6, 25, 5, 10), "lb21": (18, 75, 15, 25), "lb31": (36, 150, 30, 50)}
"""Monthly price, most targets, services and certificates."""


def locations() -> list[dict[str, Any]]:
    """Every location."""
    return [
        {
            "id": number,
            "name": name,
            "description": f"{city} DC Park 1",
            "country": country,
            "city": city,
            "latitude": 50.0,
            "longitude": 12.0,
            "network_zone": server_types.NETWORK_ZONES[name],
        }
        for number, (name, (country, city)) in enumerate(_CITIES.items(), 1)
    ]


def datacenters() -> list[dict[str, Any]]:
    """One in each location."""
    ids = list(range(1, len(_MONTHLY) + 1))
    return [
        {
            "id": place["id"],
            "name": f"{place['name']}-dc1",
            "description": f"{place['city']} 1 virtual DC 1",
            "location": place,
            "server_types": {"supported": ids, "available": ids, "available_for_migration": ids},
        }
        for place in locations()
    ]


def types_of_servers() -> list[dict[str, Any]]:
    """Every type that bex knows; `cx` only in Europe."""
    return [
        {
            "id": number,
            "name": name,
            "description": name.upper(),
            "category": "Shared vCPU",
            "cores": size.cpus,
            "memory": float(size.memory_gib),
            "disk": size.disk_gib,
            "storage_type": "local",
            "cpu_type": "dedicated" if name.startswith("ccx") else "shared",
            "architecture": "x86",
            "deprecated": False,
            "deprecation": None,
            "included_traffic": None,
            "prices": _prices(_MONTHLY[name], name),
            "locations": [
                {
                    "id": place["id"],
                    "name": place["name"],
                    "recommended": True,
                    "available": True,
                    "deprecation": None,
                }
                for place in locations()
                if _is_offered(name, place["name"])
            ],
        }
        for number, (name, size) in enumerate(server_types.TYPES.items(), 1)
    ]


def types_of_load_balancers() -> list[dict[str, Any]]:
    """The three types."""
    return [
        {
            "id": number,
            "name": name,
            "description": name.upper(),
            "max_connections": 10000,
            "max_targets": targets,
            "max_services": services,
            "max_assigned_certificates": certificates,
            "deprecated": None,
            "prices": _prices(price, name),
        }
        for number, (name, (price, targets, services, certificates)) in enumerate(
            _BALANCERS.items(), 1
        )
    ]


def images() -> list[dict[str, Any]]:
    """Hetzner's own image of Ubuntu; snapshots are a project's."""
    return [image("ubuntu-24.04", 1)]


def image(name: str, number: int) -> dict[str, Any]:
    """One system image."""
    return {
        "id": number,
        "type": "system",
        "status": "available",
        "name": name,
        "description": name,
        "image_size": None,
        "disk_size": 5,
        "created": "2026-01-01T00:00:00Z",
        "created_from": None,
        "bound_to": None,
        "os_flavor": name.partition("-")[0],
        "os_version": name.partition("-")[2],
        "rapid_deploy": True,
        "protection": {"delete": False},
        "deprecated": None,
        "deleted": None,
        "labels": {},
        "architecture": "x86",
    }


def pricing() -> dict[str, Any]:
    """The answer of `GET /pricing`, without its envelope."""
    servers = [
        {"id": each["id"], "name": each["name"], "prices": each["prices"]}
        for each in types_of_servers()
    ]
    balancers = [
        {"id": each["id"], "name": each["name"], "prices": each["prices"]}
        for each in types_of_load_balancers()
    ]
    addresses = [
        {"type": kind, "prices": _prices(price)} for kind, price in (("ipv4", 1), ("ipv6", 0))
    ]
    return {
        "currency": CURRENCY,
        "vat_rate": f"{VAT}.000000",
        "image": {"price_per_gb_month": _price(0.01)},
        "volume": {"price_per_gb_month": _price(0.05)},
        "server_backup": {"percentage": "20.000000"},
        "traffic": {"price_per_tb": _price(0)},
        "floating_ip": {"price_monthly": _price(3)},
        "floating_ips": [{"type": "ipv4", "prices": _prices(3)}],
        "primary_ips": addresses,
        "server_types": servers,
        "load_balancer_types": balancers,
    }


def _is_offered(kind: str, location: str) -> bool:
    if kind.startswith("cx"):
        return server_types.NETWORK_ZONES[location] == "eu-central"
    return True


def _prices(monthly: float, kind: str = "") -> list[dict[str, Any]]:
    return [
        {
            "location": place,
            "price_hourly": _price(monthly / 500),
            "price_monthly": _price(monthly),
            "included_traffic": 20 * 1024**4,
            "price_per_tb_traffic": _price(1),
        }
        for place in _CITIES
        if _is_offered(kind, place)
    ]


def _price(net: float) -> dict[str, str]:
    return {"net": f"{net:.10f}", "gross": f"{net * (100 + VAT) / 100:.10f}"}
