"""Releases: when a change of the spec is a new one, and which number it gets.

Only what a running process can notice is part of a release. Replicas, hosts and suspension are
not: changing them restarts nothing and counts nothing.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from bex_operator.api import app, names, status

RUNTIME_FIELDS = frozenset(
    {
        "image",
        "port",
        "command",
        "args",
        "pre_deploy_command",
        "run_as_user",
        "env",
        "env_from_secret",
        "health_check_path",
        "tier",
        "resources",
        "restarted_at",
        "max_shutdown_delay_seconds",
    }
)
OPERATIONAL_FIELDS = frozenset(
    {
        "name",
        "replicas",
        "autoscaling",
        "host",
        "hosts",
        "expose",
        "suspended",
        "idle_ttl_seconds",
    }
)
SOURCE_FIELDS = frozenset({"repo", *app.GIT_FIELDS})
"""Part of a build, and of a release only through the image that comes out."""


def digest(wanted: app.App) -> str:
    """Digest the runtime configuration.

    Defaults are left out, so a field that a later version adds changes no App that lacks it.
    """
    runtime = wanted.model_dump(
        mode="json", include=set(RUNTIME_FIELDS), exclude_defaults=True, exclude_none=True
    )
    text = orjson.dumps(runtime, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:32]


def choose(
    wanted: str, *sources: status.Release | None, anew_after: int | None = None
) -> status.Release:
    """Return the release with digest *wanted*: the one there is, or one with a new number.

    *sources* are the Deployment, the App's status and the newest record. A crash between writes
    leaves one ahead of the others, and any of them may have been deleted. With *anew_after*, the
    number of the newest record, a new one is made even of the same configuration; unless one is
    ahead of the records as the caches have them: it may be just the one that is asked for.
    """
    known = [release for release in sources if release is not None]
    newest = max(known, key=lambda release: release.number, default=None)
    if newest is None:
        return status.Release(number=1, digest=wanted)
    if newest.digest == wanted and newest.number != anew_after:
        return newest
    return status.Release(number=newest.number + 1, digest=wanted)


def revision(release: status.Release) -> str:
    """Name the release for people."""
    return f"rev-{release.number}"


def of_deployment(deployment: Mapping[str, Any] | None) -> status.Release | None:
    """Read the release that a Deployment rolls out; None if its marks are gone."""
    if deployment is None:
        return None
    found = deployment["metadata"].get("annotations", {}).get(names.RELEASE_ANNOTATION, "")
    template = deployment["spec"]["template"]["metadata"].get("labels", {})
    number = template.get(names.REVISION_LABEL, "").removeprefix("rev-")
    if not found or not number.isdigit():
        return None
    return status.Release(number=int(number), digest=found)
