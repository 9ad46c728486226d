"""Reads what lets the platform into a private repository: a token, or a deploy key for ssh."""

import base64

from bex_operator.api import names
from bex_operator.controllers import sources
from bex_operator.git import errors as git_errors
from bex_operator.kube import client, errors, kinds

_FOR_HTTPS = {"token": "token"}
_FOR_SSH = {"ssh-privatekey": "key", "known_hosts": "known-hosts"}
"""Keys of the Secret, and the options of steps that get their values. Without known hosts whoever
answered first could be anybody: they are demanded."""


async def read(kube: client.Client, place: sources.Place) -> dict[str, str]:
    """Return what a step needs to reach the repository; nothing for a public one.

    Raises: git.errors.Refused with the field.
    """
    wanted = _FOR_SSH if place.speaks_ssh else _FOR_HTTPS
    named = " and ".join(repr(each) for each in wanted)
    if place.secret is None:
        if place.speaks_ssh:
            raise git_errors.Refused(f"spec.cloneSecret: ssh needs a Secret with {named}")
        return {}
    try:
        secret = await kube.get(kinds.SECRET, place.secret, place.namespace)
    except errors.NotFound:
        raise git_errors.Refused(f"spec.cloneSecret: there is no Secret {place.secret!r}") from None
    if (secret["metadata"].get("labels") or {}).get(names.PROTECTED_LABEL) == "true":
        raise git_errors.Refused("spec.cloneSecret: the Secret is the platform's")
    held = secret.get("data") or {}
    missing = [each for each in wanted if not held.get(each)]
    if missing:
        raise git_errors.Refused(f"spec.cloneSecret: the Secret has no key {missing[0]!r}")
    found = {option: base64.b64decode(held[key]).decode() for key, option in wanted.items()}
    return {option: f"{value.strip()}\n" for option, value in found.items()}
