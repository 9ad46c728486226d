"""What can go wrong between us and a Kubernetes API server, by what the caller can do about it.

    KubeError
    ├── BadKubeconfig            the file cannot be used: mend it
    ├── UnknownKind              the server does not serve this kind (yet)
    ├── NotLeading               somebody else may act by now: leave it to them
    ├── Unreachable              no usable answer: connection, TLS, timeout, garbled body; try again
    └── ApiError                 the server answered with a Status
        ├── BadRequest (400)  Unauthorized (401)  Forbidden (403)  NotFound (404)
        ├── AlreadyExists (409)  Conflict (409)  Gone (410)  Invalid (422)
        ├── TooManyRequests (429)   has retry_after_seconds
        └── ServerError (5xx)

Errors of the HTTP library never leave this package.
"""

from collections.abc import Mapping
from typing import Any


class KubeError(Exception):
    """Anything that went wrong with Kubernetes."""


class BadKubeconfig(KubeError):
    """The kubeconfig cannot be read or lacks something."""


class UnknownKind(KubeError):
    """The API server serves no such kind."""

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(f"the API server does not serve kind {kind!r} of {api_version!r}")
        self.api_version = api_version
        self.kind = kind


class NotLeading(KubeError):
    """Nothing may be written: another process may hold the lease."""


class Unreachable(KubeError):
    """No usable answer came: refused, reset, bad TLS, timed out or not JSON."""


class ApiError(KubeError):
    """The API server refused a request."""

    def __init__(
        self, status: int, reason: str, message: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message or f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.message = message
        self.details = dict(details or {})


class BadRequest(ApiError):
    """400: the request makes no sense to the server."""


class Unauthorized(ApiError):
    """401: the credentials are missing, wrong or out of date."""


class Forbidden(ApiError):
    """403: the user may not do this, or admission or a quota refused it."""


class NotFound(ApiError):
    """404: no such object, or no such kind."""


class AlreadyExists(ApiError):
    """409: an object of that name is there already."""


class Conflict(ApiError):
    """409: the object has moved on since it was read, or a precondition failed."""


class Gone(ApiError):
    """410: the resource version is too old; list again."""


class Invalid(ApiError):
    """422: the object breaks a rule of its schema; `details["causes"]` lists the fields."""


class ServerError(ApiError):
    """5xx: the server failed; the write may have happened."""


class TooManyRequests(ApiError):
    """429: the server is busy, or a disruption budget holds a pod."""

    retry_after_seconds: float = 1.0


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def from_status(status: int, body: object, retry_after: str | None = None) -> ApiError:
    """Make the error of a `Status` object (or of whatever a proxy in between answered).

    *retry_after* is the HTTP header; the Status' own `retryAfterSeconds` counts when it is absent.
    """
    answer: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    reason = str(answer.get("reason") or "")
    message = str(answer.get("message") or (body if isinstance(body, str) else ""))[:4000]
    details = answer.get("details")
    details = details if isinstance(details, Mapping) else {}
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    if status == 409 and reason == "AlreadyExists":
        kind = AlreadyExists
    error = kind(status, reason, message, details)
    if isinstance(error, TooManyRequests):
        error.retry_after_seconds = _seconds(retry_after, details.get("retryAfterSeconds"))
    return error


def _seconds(*candidates: object) -> float:
    for candidate in candidates:
        try:
            return min(max(float(str(candidate)), 0.0), 3600.0)
        except ValueError:
            continue
    return 1.0
