"""What can go wrong between us and Caddy, by what the caller can do about it.

CaddyError
├── Unavailable   nobody answers on the socket, or not in time: try again
└── Refused       Caddy does not take what it was sent: another try changes nothing
"""


class CaddyError(Exception):
    """Anything that went wrong with Caddy."""


class Unavailable(CaddyError):
    """No usable answer came: no socket, refused, reset or timed out."""


class Refused(CaddyError):
    """Caddy answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Caddy answered {status}: {message}")
        self.status = status
        self.message = message
