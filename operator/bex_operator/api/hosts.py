"""Host names: how they are written and when two of them are the same."""

LABEL_REGEX = r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
HOST_REGEX = rf"({LABEL_REGEX}\.)+[A-Za-z]([-A-Za-z0-9]{{0,61}}[A-Za-z0-9])?\.?"


def fold(host: str) -> str:
    """Return the one form of a host: lower case, no trailing dot."""
    return host.lower().removesuffix(".")


def fold_all(*hosts: str | None) -> tuple[str, ...]:
    """Fold hosts, each once, in the order given; None is left out."""
    return tuple(dict.fromkeys(fold(host) for host in hosts if host))
