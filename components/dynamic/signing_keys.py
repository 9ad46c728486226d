"""A key made once: its private half signs tokens for the registry, which has the public one."""

import json
from typing import Any

import pulumi
from pulumi import dynamic

from components.dynamic import resources

BITS = 2048


class SigningKeyProvider(resources.Provider):
    """An RSA key that stays until its purpose changes."""

    fixed = ("purpose",)

    def identifier(self, props: resources.Inputs) -> str:
        """There is one per purpose in a stack."""
        return str(props["purpose"])

    def ensure(self, props: resources.Inputs) -> dict[str, Any]:
        """Make it; the stack's state keeps it encrypted."""
        del props
        private, public = make()
        return {"private": private, "public": public}


def make() -> tuple[str, str]:
    """Make a key: what signs, as JSON (RFC 7517), and what verifies, as PEM."""
    import base64

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    numbers = key.private_numbers()

    def encoded(number: int) -> str:
        content = number.to_bytes((number.bit_length() + 7) // 8)
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    parts = {"e": numbers.public_numbers.e, "n": numbers.public_numbers.n, "d": numbers.d}
    private = {"kty": "RSA", **{name: encoded(part) for name, part in parts.items()}}
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return json.dumps(private), public.decode()


class SigningKey(dynamic.Resource, module="bex", name="SigningKey"):
    """`private`, which is secret, and `public`."""

    private: pulumi.Output[str]
    public: pulumi.Output[str]

    def __init__(
        self, name: str, *, purpose: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        inputs = {"purpose": purpose, "private": None, "public": None}
        hidden = pulumi.ResourceOptions(additional_secret_outputs=["private"])
        super().__init__(
            SigningKeyProvider(), name, inputs, pulumi.ResourceOptions.merge(opts, hidden)
        )
