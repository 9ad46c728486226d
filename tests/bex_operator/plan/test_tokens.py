"""Tokens as a registry reads them, with a secret that it shares and with a public key."""

import base64
import json

import pytest
from cryptography import exceptions
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bex_operator.plan import tokens
from components.dynamic import signing_keys


def decode(part: str) -> bytes:
    """Decode one part of a token."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def verify(token: str, public: str) -> None:
    """Verify a token as a registry with the public key does."""
    signed, _, signature = token.rpartition(".")
    key = serialization.load_pem_public_key(public.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_token_of_an_rsa_key_is_verified_with_its_public_half() -> None:
    """By a library that we did not write; another key's half refuses it."""
    private, public = signing_keys.make()
    _, stranger = signing_keys.make()
    token = tokens.sign(private.encode(), [("builds/a/image", "pull", "push")], 42)
    header, payload, _ = (token + "..").split(".")[:3]

    verify(token, public)
    with pytest.raises(exceptions.InvalidSignature):
        verify(token, stranger)
    assert json.loads(decode(header))["alg"] == "RS256"
    assert json.loads(decode(payload)) == {
        "exp": 42,
        "access": [
            {"type": "repository", "name": "builds/a/image", "actions": ["pull", "push"]},
        ],
    }


def test_shared_secret_signs_as_before() -> None:
    """The registry of the embedded stack has the secret itself."""
    token = tokens.sign(b"s" * 32, [("bex/a", "pull")], 42)

    assert json.loads(decode(token.partition(".")[0]))["alg"] == "HS256"
