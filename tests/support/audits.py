"""Which rights requests took, by the API server's audit log; and a way there that breaks once."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from bex_operator.api import names, rights
from tests.support.fault_proxy import Fault

Used = tuple[str, str, str]
"""Group, resource with subresource, and verb."""


@dataclass
class Stumbles:
    """Breaks the first watch of each kind, and the first answer about each kind's objects."""

    met: set[str] = field(default_factory=set)

    def choose(self, request: web.Request) -> Fault | None:
        """Decide on a request."""
        place = f"{request.method} {'/'.join(request.path.split('/')[:7])}"
        if "watch" in request.query and "/leases" not in request.path:
            place = f"watch {request.path}"
        if place in self.met:
            return None
        self.met.add(place)
        if place.startswith("watch"):
            return Fault(503, "no backend")
        if request.method == "PATCH" and names.GROUP not in request.path:
            return Fault(409, '{"kind":"Status","code":409,"reason":"Conflict"}')
        if request.method == "POST" and request.path.endswith(("jobs", "revisions")):
            return Fault(409, '{"kind":"Status","code":409,"reason":"AlreadyExists"}', after=True)
        return None


def audited(log: Path, user: str) -> list[dict[str, Any]]:
    """What a user asked; all of it was allowed."""
    written = log.read_text()
    # Of what the server is just writing, the beginning may be there already.
    events = [json.loads(line) for line in written[: written.rfind("\n") + 1].splitlines()]
    found = [each for each in events if each["user"]["username"] == user]
    told = {each["annotations"]["authorization.k8s.io/decision"] for each in found}
    assert told == {"allow"}
    return [each for each in found if "objectRef" in each]


def used(events: Iterable[dict[str, Any]], *, where: str = "") -> set[Used]:
    """Which rights requests took: those that are given in *where* alone, or those in all."""
    found = set()
    for event in events:
        asked = event["objectRef"]
        resource = "/".join(asked[key] for key in ("resource", "subresource") if key in asked)
        what = asked.get("apiGroup", ""), resource
        if _granted_in(asked.get("namespace", ""), resource) == where:
            found.add((*what, event["verb"]))
            if event["verb"] == "patch" and event["responseStatus"]["code"] == 201:
                found.add((*what, "create"))
    return found


def _granted_in(namespace: str, resource: str) -> str:
    """In which namespace alone the right is given; empty if it is given in all."""
    if namespace in {names.BUILD_NAMESPACE, names.SYSTEM_NAMESPACE} or resource == "secrets":
        return namespace
    return ""


def granted(table: Iterable[rights.Right]) -> set[Used]:
    """Every right of a table alone."""
    return {(each.group, each.resource, verb) for each in table for verb in each.verbs}
