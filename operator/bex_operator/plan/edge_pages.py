"""The answers the edge gives itself, as Caddy handlers. They repeat what a client sent, so they are
plain text."""

from typing import Any

NO_POD_RETRY_SECONDS = 5
STARTING_RETRY_SECONDS = 1


def _page(status: int | str, body: str, **headers: str) -> dict[str, Any]:
    fixed = {
        "Cache-Control": "no-store",
        "Content-Type": "text/plain; charset=utf-8",
        "X-Content-Type-Options": "nosniff",
    }
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "handler": "static_response",
        "status_code": status,
        "headers": {name: [value] for name, value in sorted({**fixed, **named}.items())},
        "body": body + "\n",
    }


UNKNOWN_HOST = _page(404, "404 Not Found\n\nNo app answers for {http.request.host} here.")
UNKNOWN_PATH = _page(404, "404 Not Found\n\n{http.request.host} has nothing at this path.")
NO_POD = _page(
    503,
    "503 Service Unavailable\n\n{http.request.host} has no pod that is ready. Try again in "
    f"{NO_POD_RETRY_SECONDS} seconds.",
    Retry_After=str(NO_POD_RETRY_SECONDS),
)
STARTING = _page(
    503,
    "503 Service Unavailable\n\nThe edge is starting and knows no app yet.",
    Retry_After=str(STARTING_RETRY_SECONDS),
)
ERROR = _page(
    "{http.error.status_code}",
    "{http.error.status_code} {http.error.status_text}\n\n"
    "The app at {http.request.host} did not answer this request.",
)
