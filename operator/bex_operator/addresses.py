"""Which addresses are one host of the public internet, and which lead to inner doors."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_CARRIERS = tuple(
    ipaddress.ip_network(each)
    for each in ("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
)
"""IPv6 that gateways turn into IPv4, inner ones included. Source: RFC 6052, 8215, 4380, 3056."""


def is_public(address: Address) -> bool:
    """Tell whether *address* is one host of the public internet."""
    is_carried = any(address in network for network in _CARRIERS)
    return address.is_global and not address.is_multicast and not is_carried
