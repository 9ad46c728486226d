"""Tokens as a registry reads them, with a secret that it shares and with a public key."""

import base64
import json

import pytest
from cryptography import exceptions
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bex_operator.plan import tokens


def decode(part: str) -> bytes:
    """Decode one part of a token."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def encode(number: int) -> str:
    """Write a number of a key as its JSON does (RFC 7518, 2)."""
    content = number.to_bytes((number.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def make_key() -> tuple[bytes, str]:
    """Make a key: what signs, as JSON, and what verifies, as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = key.private_numbers()
    parts = {"e": numbers.public_numbers.e, "n": numbers.public_numbers.n, "d": numbers.d}
    private = {"kty": "RSA", **{name: encode(part) for name, part in parts.items()}}
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return json.dumps(private).encode(), public.decode()


def verify(token: str, public: str) -> None:
    """Verify a token as a registry with the public key does."""
    signed, _, signature = token.rpartition(".")
    key = serialization.load_pem_public_key(public.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_token_of_an_rsa_key_is_verified_with_its_public_half() -> None:
    """By a library that we did not write; another key's half refuses it."""
    private, public = make_key()
    _, stranger = make_key()
    token = tokens.sign(private, [("builds/a/image", "pull", "push")], 42)
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


def test_care_of_the_registry_is_granted_as_such() -> None:
    """To see how full it is and to let images go; no repository is named."""
    token = tokens.sign_care(b"s" * 32, 42)

    assert json.loads(decode(token.split(".")[1])) == {
        "exp": 42,
        "access": [{"type": "registry", "name": "care", "actions": ["*"]}],
    }
