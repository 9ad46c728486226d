"""Which addresses the operator dials for others."""

import ipaddress

import pytest

from bex_operator import addresses, outbound


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "::1",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_inner_address_is_not_public(address: str) -> None:
    """Nor is one that a gateway turns into an inner one, or that means many hosts."""
    assert not addresses.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111"])
def test_public_address_is_dialled(address: str) -> None:
    """Of both kinds."""
    assert addresses.is_public(ipaddress.ip_address(address))


async def test_name_without_a_dialled_address_does_not_answer() -> None:
    """What the name leads to is looked at, not what it is called."""
    names = outbound._Names(lambda _name, address: addresses.is_public(address))
    try:
        with pytest.raises(OSError, match="no public address"):
            await names.resolve("localhost", 443)
    finally:
        await names.close()
