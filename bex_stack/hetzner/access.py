"""Who may ask Hetzner: the token, from the environment or from the stack file's secrets."""

import os
from collections.abc import Mapping

from bex_stack import targets
from bex_stack.engine import passphrase, project
from bex_stack.hetzner import cloud

KEY = "hcloud:token"
VARIABLE = "HCLOUD_TOKEN"
"""What Hetzner's own tools and Pulumi's provider read, too."""
ENDPOINT_VARIABLE = "HCLOUD_ENDPOINT"


def connect(token: str, environment: Mapping[str, str] = os.environ) -> cloud.Cloud:
    """Make a connection; nothing is asked yet.

    Raises:
        cloud.BadToken: there is no token.
    """
    if not token:
        raise cloud.BadToken(
            f"{KEY} is not set and neither is {VARIABLE}: "
            f"pulumi config set --secret {KEY} …, with a token that may read and write"
        )
    return cloud.Cloud(token, environment.get(ENDPOINT_VARIABLE) or cloud.ENDPOINT)


def token_of(target: targets.Target, environment: Mapping[str, str] = os.environ) -> str:
    """Find the token of a stack: the environment's, else the stack file's; empty if there is none.

    Raises:
        engine errors: the stack file's secrets do not open.
    """
    if given := environment.get(VARIABLE):
        return given
    found = project.load_stack(project.load_project(target.project), target.stack, target.file)
    entry = found.config.get(KEY)
    if not isinstance(entry, Mapping) or "secure" not in entry:
        return str(entry or "")
    secret = passphrase.find(target.backend, environment, make=False)
    crypter = passphrase.open_state(secret, found.salt, str(found.path))
    return crypter.decrypt(str(entry["secure"]))
