"""What a stack costs a month, from Hetzner's own price list: pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pydantic

from bex_stack.hetzner.inventory import Inventory

CENT = Decimal("0.01")
NOT_COUNTED = (
    "not counted: volumes of apps, snapshots, traffic beyond what is included, and servers while "
    "they are replaced"
)


class _Read(pydantic.BaseModel):
    """What Hetzner sends; of its other fields we need none."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")


class Price(_Read):
    """An amount without and with VAT."""

    net: Decimal
    gross: Decimal

    def times(self, number: int) -> "Price":
        """Return the price of *number* of them."""
        return Price(net=self.net * number, gross=self.gross * number)

    def plus(self, other: "Price") -> "Price":
        """Return the sum."""
        return Price(net=self.net + other.net, gross=self.gross + other.gross)


class _Placed(_Read):
    location: str
    price_monthly: Price


class _Typed(_Read):
    name: str
    prices: tuple[_Placed, ...]


class _Address(_Read):
    type: str
    prices: tuple[_Placed, ...]


class _PerGigabyte(_Read):
    price_per_gb_month: Price


class PriceList(_Read):
    """`GET /pricing`, as far as a stack needs it. Source: hcloud-go, `schema/pricing.go`."""

    currency: str
    vat_rate: Decimal
    server_types: tuple[_Typed, ...]
    load_balancer_types: tuple[_Typed, ...]
    primary_ips: tuple[_Address, ...]
    volume: _PerGigabyte

    def of_server(self, kind: str, location: str) -> Price | None:
        """A server's monthly price, or None where it is not sold."""
        return _find(self.server_types, kind, location)

    def of_balancer(self, kind: str, location: str) -> Price | None:
        """A load balancer's, its addresses included."""
        return _find(self.load_balancer_types, kind, location)

    def of_address(self, location: str) -> Price | None:
        """A public IPv4 address's; IPv6 is free."""
        found = (each.prices for each in self.primary_ips if each.type == "ipv4")
        return next((e.price_monthly for p in found for e in p if e.location == location), None)


ZERO = Price(net=Decimal(0), gross=Decimal(0))


@dataclass(frozen=True, slots=True)
class Row:
    """Something that is paid for: so many of it at least, and at most."""

    what: str
    type: str
    location: str
    least: int
    most: int
    each: Price | None
    """For one of it; None: not in the price list."""

    def as_dict(self) -> dict[str, Any]:
        """Say it to programs."""
        price = self.each or ZERO
        return {
            "what": self.what,
            "type": self.type,
            "location": self.location,
            "least": self.least,
            "most": self.most,
            "known": self.each is not None,
            "monthly": {
                "least": amounts(price.times(self.least)),
                "most": amounts(price.times(self.most)),
            },
        }


@dataclass(frozen=True, slots=True)
class Costs:
    """The table."""

    rows: Sequence[Row]
    currency: str
    vat_rate: Decimal

    @property
    def least(self) -> Price:
        """What the fixed part costs."""
        return _sum((each.each or ZERO).times(each.least) for each in self.rows)

    @property
    def most(self) -> Price:
        """What it costs with every machine the autoscaler may make."""
        return _sum((each.each or ZERO).times(each.most) for each in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Say it to programs."""
        return {
            "currency": self.currency,
            "vatRate": str(self.vat_rate.normalize()),
            "rows": [each.as_dict() for each in self.rows],
            "monthly": {"least": amounts(self.least), "most": amounts(self.most)},
        }


def table(wanted: Inventory, prices: PriceList) -> Costs:
    """Price everything a stack makes."""
    return Costs(tuple(_rows(wanted, prices)), prices.currency, prices.vat_rate)


def things(wanted: Inventory) -> Iterator[Row]:
    """List what is paid for, without a price: the same rows as the table's."""
    for servers in wanted.servers:
        what = f"servers: {servers.pool}"
        yield Row(what, servers.type, servers.location, servers.least, servers.most, None)
    for place in dict.fromkeys(each.location for each in wanted.servers):
        there = [each for each in wanted.servers if each.location == place]
        least, most = sum(each.least for each in there), sum(each.most for each in there)
        yield Row("public addresses", "ipv4", place, least, most, None)
    for balancer in wanted.balancers:
        what = f"load balancer {balancer.name}"
        yield Row(what, balancer.type, balancer.location, 1, 1, None)
    for gib in wanted.volumes_gib:
        yield Row("volume of the registry", "GB", wanted.balancers[0].location, gib, gib, None)


def amounts(price: Price) -> dict[str, str]:
    """Round to cents."""
    return {"net": str(price.net.quantize(CENT)), "gross": str(price.gross.quantize(CENT))}


def _rows(wanted: Inventory, prices: PriceList) -> Iterator[Row]:
    for row in things(wanted):
        if row.what.startswith("servers"):
            price = prices.of_server(row.type, row.location)
        elif row.type == "ipv4":
            price = prices.of_address(row.location)
        elif row.type == "GB":
            price = prices.volume.price_per_gb_month
        else:
            price = prices.of_balancer(row.type, row.location)
        yield Row(row.what, row.type, row.location, row.least, row.most, price)


def _find(types: Sequence[_Typed], kind: str, location: str) -> Price | None:
    found = (each.prices for each in types if each.name == kind)
    return next((e.price_monthly for p in found for e in p if e.location == location), None)


def _sum(prices: Iterator[Price]) -> Price:
    total = ZERO
    for each in prices:
        total = total.plus(each)
    return total


def read(answer: Mapping[str, Any]) -> PriceList:
    """Read the answer of `GET /pricing`.

    Raises:
        ValueError: it has another shape.
    """
    return PriceList.model_validate(answer["pricing"])
