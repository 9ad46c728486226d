"""A password made once, and the line of an htpasswd file that checks it."""

import secrets
from typing import Any

import pulumi
from pulumi import dynamic

from components.dynamic import resources

BYTES = 24


class PasswordProvider(resources.Provider):
    """A random password that stays until its user changes."""

    fixed = ("user",)

    def identifier(self, props: resources.Inputs) -> str:
        """There is one per user in a stack."""
        return str(props["user"])

    def ensure(self, props: resources.Inputs) -> dict[str, Any]:
        """Make it; the stack's state keeps it encrypted."""
        import bcrypt

        password = secrets.token_urlsafe(BYTES)
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt()).decode()
        return {"password": password, "htpasswd": f"{props['user']}:{hashed}\n"}


class Password(dynamic.Resource, module="bex", name="Password"):
    """`password` and `htpasswd`, both secret."""

    password: pulumi.Output[str]
    htpasswd: pulumi.Output[str]

    def __init__(self, name: str, *, user: str, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {"user": user, "password": None, "htpasswd": None}
        hidden = pulumi.ResourceOptions(additional_secret_outputs=["password", "htpasswd"])
        super().__init__(
            PasswordProvider(), name, inputs, pulumi.ResourceOptions.merge(opts, hidden)
        )
