"""Where on the host this test run works: names, networks and ports that no other run uses.

Several runs, and several workers of one run, share a host. Each takes the first place that is free,
by a lock that ends with its process; whatever else lives there was left by a run that was killed.
"""

import fcntl
import functools
import itertools
import os
import socket
import tempfile
from pathlib import Path

COUNT = 10
_FIRST_PORT = 20000
"""Below the ports that the kernel gives to connections: one of those may be taken at any moment."""
_PORTS = 1000
_FIXED_PORTS = 100
_next_port = itertools.count()


@functools.cache
def number() -> int:
    """Take a place for as long as this process lives."""
    for candidate in range(COUNT):
        path = Path(tempfile.gettempdir()) / f"bex-tests-{candidate}.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
        else:
            return candidate
    raise RuntimeError(f"{COUNT} other test runs hold all places in {tempfile.gettempdir()}")


def name(what: str) -> str:
    """Name an instance: at most ten letters and digits."""
    return f"t{number()}{what}"


def network(octet: int) -> str:
    """A network of 254 addresses in 10.*octet*.0.0/16."""
    return f"10.{octet}.{number()}.0/24"


def pod_network(octet: int) -> str:
    """A network for the pods of 16 machines in 10.*octet*.0.0/16."""
    return f"10.{octet}.{16 * number()}.0/20"


def port(offset: int) -> int:
    """The same port whenever it is asked for; *offset* (0-99) tells those of one run apart."""
    return _FIRST_PORT + number() * _PORTS + offset


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens and which this run has not used lately."""
    found: list[int] = []
    while len(found) < count:
        candidate = port(_FIXED_PORTS + next(_next_port) % (_PORTS - _FIXED_PORTS))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
        found.append(candidate)
    return found
