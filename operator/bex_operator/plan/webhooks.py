"""What a git server's webhook means: who sent it, and whether an App's branch moved. Pure.

The body is believed only as far as that it is worth asking the repository now: commits are learnt
from there alone. Source: GitHub, GitLab and Gitea, "Validating webhook deliveries".
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

MAX_BODY_BYTES = 1024 * 1024
_PUSHES = frozenset({"push", "Push Hook", "Tag Push Hook", "create"})
_EVENT_HEADERS = ("X-GitHub-Event", "X-Gitea-Event", "X-Gitlab-Event")
_SIGNATURE_HEADERS = ("X-Hub-Signature-256", "X-Gitea-Signature")
_TOKEN_HEADER = "X-Gitlab-Token"  # noqa: S105 - a header's name


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is answered, and whether the repository is to be asked."""

    status: int
    words: str
    asks: bool = False


def path_of(namespace: str, name: str) -> str:
    """Return where an App's webhook is."""
    return f"/hooks/{namespace}/{name}"


def secret_of(key: bytes, uid: str) -> str:
    """Return what an App's webhook is signed with: known to whoever has the platform's key.

    By UID: a later App of the same name has another one.
    """
    return hmac.new(key, f"webhook of {uid}".encode(), hashlib.sha256).hexdigest()


def judge(headers: Mapping[str, str], body: bytes, secret: str, ref: str) -> Verdict:
    """Judge a delivery to an App that follows *ref*."""
    if not _is_signed(headers, body, secret):
        return Verdict(401, "the signature is missing or wrong")
    event = next((headers[each] for each in _EVENT_HEADERS if each in headers), "push")
    if event not in _PUSHES:
        return Verdict(200, "ignored: no push")
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Verdict(400, "the body is no JSON; set the content type application/json")
    pushed = told.get("ref") if isinstance(told, dict) else None
    if not isinstance(pushed, str):
        return Verdict(400, "the body names no ref")
    if pushed.removeprefix("refs/heads/").removeprefix("refs/tags/") != ref:
        return Verdict(200, "ignored: another branch")
    return Verdict(202, "the repository is asked", asks=True)


def _is_signed(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Compare in the same time whatever is wrong."""
    wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    given = [headers.get(each, "").removeprefix("sha256=") for each in _SIGNATURE_HEADERS]
    signed = [hmac.compare_digest(each.encode(), wanted.encode()) for each in given]
    shown = hmac.compare_digest(headers.get(_TOKEN_HEADER, "").encode(), secret.encode())
    return any([*signed, shown])
