"""What a stack costs a month, by the made-up price list."""

from decimal import Decimal

import pytest

from bex_stack.hetzner import cloud, costs, report
from tests.bex_stack.hetzner import examples
from tests.support import hetzner_api
from tests.support import hetzner_catalog as catalog
from tests.support.hetzner_api import Hetzner

PRICES = costs.read({"pricing": catalog.pricing()})


def test_fixed_part_and_most_are_sums_over_everything_that_is_paid_for() -> None:
    """Servers with their addresses, load balancers, the registry's volume: each by its number."""
    found = costs.table(examples.wanted(workersMax="2", buildMachinesMax="1"), PRICES)

    # cx23 4, cx33 6 times 3+3+1, 8 addresses of 1, 2 load balancers of 6, 100 GB of 0.05
    assert found.least.net == Decimal(4 + 6 * 7 + 8 + 12 + 5)
    # one more cx33, a cx43 of 10, two cpx32 of 15 in nbg1, and their four addresses
    assert found.most.net - found.least.net == Decimal(6 + 10 + 30 + 4)
    assert found.most.gross == found.most.net * Decimal("1.19")
    assert (found.currency, found.vat_rate) == ("EUR", 19)


def test_type_without_a_price_is_shown_as_unknown() -> None:
    """A sum that silently lacks something would be a lie."""
    found = costs.table(examples.wanted(location="ash", fallbackLocation=""), PRICES)
    shown = report.table_of_costs(found)

    assert next(row.what for row in found.rows if row.each is None) == "servers: infra"
    assert "?" in shown.splitlines()[1]


def test_prices_come_from_hetzner(hetzner: Hetzner) -> None:
    """As the API sends them, net and gross as texts."""
    with cloud.Cloud(hetzner_api.TOKEN, hetzner.url) as connection:
        prices = connection.prices()

    assert prices == PRICES
    server = prices.of_server("cx33", "fsn1")
    assert server is not None
    assert costs.amounts(server) == {"net": "6.00", "gross": "7.14"}


def test_price_list_of_another_shape_is_refused() -> None:
    """Rather no table than one made of guesses."""
    answer = catalog.pricing()
    del answer["currency"]

    with pytest.raises(ValueError, match="currency"):
        costs.read({"pricing": answer})


def test_table_is_the_same_for_programs_and_people() -> None:
    """Sums to the cent, with what they leave out."""
    found = costs.table(examples.wanted(), PRICES)
    sums = found.as_dict()["monthly"]
    last_but_one, last = report.table_of_costs(found).splitlines()[-2:]

    assert f"{sums['least']['net']}-{sums['most']['net']}" in last_but_one
    assert last.startswith("VAT 19 %; not counted: volumes of apps")


def test_documentation_lists_what_is_paid_for() -> None:
    """The table in docs/architecture.md is what the code counts for the checked-in stack."""
    page = (examples.ROOT / "docs/architecture.md").read_text()

    assert report.table_of_things(costs.things(examples.wanted())) in page
