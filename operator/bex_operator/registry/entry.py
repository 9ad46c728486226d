"""Tries at the registry what a build is given for it, before the build begins."""

import asyncio
import http.client

import orjson

from bex_operator.plan import tokens
from bex_operator.registry import errors

SECONDS = 5.0
"""A build that waits for this is tried again; one that never starts is not."""
_REFUSES = frozenset({401, 403})


async def prove(held: tokens.Pass) -> None:
    """Ask as the build will when it pulls and pushes.

    Raises: errors.Refused, errors.Unavailable.
    """
    # Asked so seldom that a thread costs less than a library for it would.
    await asyncio.to_thread(_prove, held)


def _prove(held: tokens.Pass) -> None:
    connection = http.client.HTTPConnection(held.endpoint, timeout=SECONDS)
    try:
        cache = f"/v2/{held.folder}/cache/manifests/latest"
        _ask(connection, "pull", "GET", cache, held.pull)
        # An upload that nobody began: let in is who learns that, and nothing is left to clear away.
        nothing = f"/v2/{held.folder}/image/blobs/uploads/proof"
        _ask(connection, "push", "PATCH", nothing, held.push)
    except (http.client.HTTPException, OSError) as exc:
        raise errors.Unavailable(f"it does not answer ({type(exc).__name__})") from exc
    finally:
        connection.close()


def _ask(
    connection: http.client.HTTPConnection, what: str, method: str, path: str, token: str
) -> None:
    headers = {"Authorization": f"Bearer {token}", "User-Agent": "bex", "Content-Length": "0"}
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status in _REFUSES:
        raise errors.Refused(f"it refuses what builds {what} with: {_said(body)}")
    if answer.status >= http.client.INTERNAL_SERVER_ERROR:
        raise errors.Unavailable(f"it answers {answer.status} to a {what}: {_said(body)}")


def _said(body: bytes) -> str:
    """Return the first error's words. Source: OCI distribution-spec, error codes."""
    try:
        return str(orjson.loads(body)["errors"][0]["message"])[:200]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return body.decode(errors="replace").strip()[:200]
