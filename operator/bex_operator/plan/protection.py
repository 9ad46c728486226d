"""Which Secrets an App names, and which of them it must not: the platform's own.

Whoever may write an App could else read any Secret of its namespace through it: what builds clone
with, what pulls images, backups. Those carry a label, or the operator is told their names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bex_operator.api import app, names
from bex_operator.plan import reports

REASON = "ProtectedSecretReference"
UNREADABLE_REASON = "SecretUnreadable"
RECHECK_SECONDS = 60.0
"""Nobody tells when a label or a right changes."""


def references(wanted: app.App) -> dict[str, str]:
    """Return every Secret that the App names, with the first field that does."""
    found: dict[str, str] = {}
    for variable in wanted.env:
        if variable.value_from is not None:
            name = variable.value_from.secret_key_ref.name
            found.setdefault(name, f"spec.env[{variable.name}].valueFrom.secretKeyRef")
    for field, secret in (
        ("spec.envFromSecret", wanted.env_from_secret),
        ("spec.cloneSecret", wanted.clone_secret),
    ):
        if secret is not None:
            found.setdefault(secret, field)
    return found


def is_protected(secret: Mapping[str, Any] | None) -> bool:
    """Read a Secret's metadata; one that does not exist protects nothing."""
    labels = (secret or {}).get("metadata", {}).get("labels") or {}
    return bool(labels.get(names.PROTECTED_LABEL) == "true")


def refusal(references: Mapping[str, str], protected: Sequence[str]) -> reports.Refusal | None:
    """Refuse an App that names protected Secrets; None if there are none."""
    if not protected:
        return None
    named = "; ".join(f"{references[each]} names Secret {each!r}" for each in sorted(protected)[:3])
    return reports.Refusal(REASON, f"{named}: it is the platform's own, use another")


def unreadable(namespace: str, name: str) -> reports.Refusal:
    """Refuse an App because nobody may tell whether its Secret is protected."""
    return reports.Refusal(
        UNREADABLE_REASON,
        f"the operator may not read Secret {name!r} to tell whether it is protected; bind the"
        f" ClusterRole {names.SECRETS_ROLE!r} to it in namespace {namespace!r}",
    )
