"""Host names: how they are written, when two are the same, and when one covers another.

A host is folded to lower case without a trailing dot. International names are written in punycode
(`xn--…`), which folds like any other name; written in Unicode they are refused, here and by the API
server, which could not fold them. `*.` in front stands for exactly one label, as in an Ingress:
`*.example.com` covers `a.example.com`, and neither `example.com` nor `a.b.example.com`.
"""

import re

LABEL_REGEX = r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
HOST_REGEX = rf"(\*\.)?({LABEL_REGEX}\.)+[A-Za-z]([-A-Za-z0-9]{{0,61}}[A-Za-z0-9])?\.?"

WILDCARD = "*."

_DOMAIN = re.compile(rf"{LABEL_REGEX}(\.{LABEL_REGEX})*\.?")
DOMAIN_LIMIT = 253 - 64
"""A label and a dot fit in front."""


def fold(host: str) -> str:
    """Return the one form of a host: lower case, no trailing dot."""
    return host.lower().removesuffix(".")


def fold_all(*hosts: str | None) -> tuple[str, ...]:
    """Fold hosts, each once, in the order given; None is left out."""
    return tuple(dict.fromkeys(fold(host) for host in hosts if host))


def zone(host: str) -> str:
    """Return what follows the first label: only hosts of one zone can cover each other."""
    return host.partition(".")[2]


def wildcard_over(host: str) -> str:
    """Return the wildcard that covers *host*; that of a wildcard is itself."""
    return WILDCARD + zone(host)


def overlap(one: str, other: str) -> bool:
    """Tell whether some request could be for both, folded, hosts."""
    return one == other or WILDCARD + zone(one) == other or WILDCARD + zone(other) == one


def exposed(name: str, base_domain: str | None) -> str | None:
    """Return the platform's host for an App of that name; None without a base domain."""
    return f"{name}.{base_domain}" if base_domain else None


def domain(text: str) -> str:
    """Read a domain that the platform is given, folded.

    Raises:
        ValueError: it is none, or too long for a name in front of it.
    """
    if len(text) > DOMAIN_LIMIT or not _DOMAIN.fullmatch(text):
        raise ValueError(f"{text!r} is no domain like apps.example.com")
    return fold(text)


def pattern(text: str) -> str:
    """Read a host or wildcard that the platform is given, folded.

    Raises:
        ValueError: it is neither.
    """
    if not _DOMAIN.fullmatch(text.removeprefix(WILDCARD)) or len(text) > 253:
        raise ValueError(f"{text!r} is neither a host nor a wildcard like *.example.com")
    return fold(text)
