"""Tokens of the platform's own registry: it lets their holders do what they say, and no more."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from bex_operator.api import images

SERVICE = "bex"
"""What a registry that reads them calls itself in its challenge."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What lets one build in."""

    endpoint: str
    """HOST:PORT of the registry."""
    folder: str
    """Where its App's images and cache lie."""
    pull: str
    push: str


def of_build(key: bytes, endpoint: str, folder: str, *, expires: int) -> Pass:
    """Sign what a build may do: pull base images and its App's cache; push its App's alone."""
    pull = [("library/*", "pull"), ("bex/*", "pull"), (f"{folder}/{images.CACHE}", "pull")]
    parts = (images.IMAGE, images.CACHE)
    push = [(f"{folder}/{part}", "pull", "push") for part in parts]
    return Pass(endpoint, folder, sign(key, pull, expires), sign(key, push, expires))


def sign(key: bytes, granted: Sequence[tuple[str, ...]], expires: int) -> str:
    """Sign what its holder may do at the registry: repository, then actions. Source: RFC 7519."""
    access = [
        {"type": "repository", "name": name, "actions": list(actions)} for name, *actions in granted
    ]
    return _sign(key, access, expires)


def sign_care(key: bytes, expires: int) -> str:
    """Sign that its holder may see how full the registry is, and let images go."""
    return _sign(key, [{"type": "registry", "name": "care", "actions": ["*"]}], expires)


def _sign(key: bytes, access: Sequence[Mapping[str, object]], expires: int) -> str:
    header = _encoded(orjson.dumps({"alg": "HS256", "typ": "JWT"}))
    payload = _encoded(orjson.dumps({"exp": expires, "access": access}))
    signed = f"{header}.{payload}"
    return f"{signed}.{_encoded(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
