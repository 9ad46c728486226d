"""Tokens of the platform's own registry: it lets their holders do what they say, and no more."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

import orjson

SERVICE = "bex"
"""What a registry that reads them calls itself in its challenge."""


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
