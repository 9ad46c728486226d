"""Waits for a condition or an HTTP answer; a wait that fails says for what, and shows the log."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from bex_stack.embedded import instance as instances
from bex_stack.embedded import supervision

POLL_SECONDS = 0.05
_REQUEST_SECONDS = 5.0


class NotReady(RuntimeError):
    """Something did not become ready in time; the message holds the end of its log."""


def wait(
    is_ready: Callable[[], bool],
    *,
    what: str,
    timeout_seconds: float,
    instance: instances.Instance,
    process: str,
    poll_seconds: float = POLL_SECONDS,
) -> None:
    """Wait until *is_ready*; on failure show the log of *process*.

    Raises: NotReady.
    """
    deadline = time.monotonic() + timeout_seconds
    while not is_ready():
        if time.monotonic() > deadline:
            raise not_ready(what, timeout_seconds, instance, process)
        time.sleep(poll_seconds)


def not_ready(
    what: str, timeout_seconds: float, instance: instances.Instance, process: str
) -> NotReady:
    """Say what was waited for, and what *process*, which should have made it ready, says."""
    tail = supervision.log_tail(instance, process)
    state = supervision.states(instance).get(process)
    return NotReady(
        f"{what} is not ready after {timeout_seconds:.0f} s; process {process!r} is "
        f"{state.state if state else 'not started'}. Its log ends:\n{tail or '(empty)'}"
    )


def answers(url: str, *, authority: Path | None = None) -> bool:
    """Whether *url* (http or https) answers with a status below 400."""
    parts = urllib.parse.urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
        connection = http.client.HTTPSConnection(
            parts.netloc, timeout=_REQUEST_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=_REQUEST_SECONDS)
    return _is_fine(connection, parts.path or "/")


def answers_on_socket(path: Path, target: str = "/") -> bool:
    """Whether an HTTP server on the unix socket *path* answers *target*, with whatever status."""
    return _is_fine(_UnixConnection(path), target, below=600)


def _is_fine(connection: http.client.HTTPConnection, target: str, *, below: int = 400) -> bool:
    try:
        connection.request("GET", target)
        return connection.getresponse().status < below
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_REQUEST_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Reach the socket file instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
