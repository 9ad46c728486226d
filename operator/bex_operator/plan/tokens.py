"""Tokens of the platform's own registry: it lets their holders do what they say, and no more.

The registry of the embedded stack shares the signer's key. Zot has the public half of one only:
there the key is an RSA key as JSON (RFC 7517), and the operator's image needs no library for it.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from bex_operator.api import images

SERVICE = images.SERVICE
# Zot knows no patterns: what a build pulls of the platform's is named one by one.
_BASES = ("library/*", *(f"library/{base}" for base in ("debian", "golang", "node", "python")))
_MADE_HERE = (*_BASES, "bex/*", "bex/scanner")
_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")
"""What stands before a digest that is signed: DER of SHA-256's name. Source: RFC 8017, 9.2."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What lets one build in."""

    endpoint: str
    """HOST:PORT of the registry."""
    folder: str
    """Where its App's images and cache lie."""
    pull: str
    push: str


def of_build(
    key: bytes, endpoint: str, folder: str, *, expires: int, exports: bool = False
) -> Pass:
    """Sign what a build may do: pull base images and its App's cache; push its App's alone.

    Who pushes may pull base images, to have their layers linked, and all that is made here if it
    *exports*: puts an image together from one.
    """
    pull = [(name, "pull") for name in (*_MADE_HERE, f"{folder}/{images.CACHE}")]
    parts = (images.IMAGE, images.CACHE)
    push: list[tuple[str, ...]] = [(f"{folder}/{part}", "pull", "push") for part in parts]
    push += [(name, "pull") for name in (_MADE_HERE if exports else _BASES)]
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
    private = orjson.loads(key) if key.startswith(b"{") else None
    header = {"alg": "HS256" if private is None else "RS256", "typ": "JWT"}
    parts = (header, {"exp": expires, "access": access})
    signed = ".".join(_encoded(orjson.dumps(each)) for each in parts)
    if private is None:
        signature = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    else:
        signature = _sign_rsa(private, hashlib.sha256(signed.encode()).digest())
    return f"{signed}.{_encoded(signature)}"


def _sign_rsa(private: Mapping[str, str], digest: bytes) -> bytes:
    """Sign with n and d of an RSA key (RSASSA-PKCS1-v1_5). Source: RFC 8017, 8.2.1."""
    modulus, exponent = (int.from_bytes(_decoded(private[part])) for part in ("n", "d"))
    size = (modulus.bit_length() + 7) // 8
    told = _SHA256 + digest
    padded = b"\0\1" + b"\xff" * (size - len(told) - 3) + b"\0" + told
    return pow(int.from_bytes(padded), exponent, modulus).to_bytes(size)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
