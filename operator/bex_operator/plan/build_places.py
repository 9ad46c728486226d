"""Which machines may build: those whose container runtime gives pods users of their own. Pure.

A build that no machine can confine is refused with the reason; it never gets more rights instead.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from bex_operator.plan import artefacts

RETRY_SECONDS = 60.0
REASON = "UserNamespacesUnsupported"


def refusal(
    nodes: Iterable[Mapping[str, Any]], selector: Mapping[str, str]
) -> artefacts.Waiting | None:
    """Say why no build may begin; None if one may, or if machines for it have yet to be made.

    *nodes* are v1 Nodes. What their kubelet tells of the runtime counts:
    `status.runtimeHandlers[].features.userNamespaces`. Source: Kubernetes, Node API.
    """
    places = [each for each in nodes if _carries(each, selector)]
    if not places or any(_confines(each) for each in places):
        return None
    named = ", ".join(sorted(each["metadata"]["name"] for each in places)[:3])
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return artefacts.Waiting(
        REASON,
        f"builds run in user namespaces (hostUsers: false), and no machine they may run on has "
        f"them: {named}{more}; it takes Linux 6.3, containerd 2.0 and runc 1.2 there. The platform "
        "is at fault, and nothing is built with more rights instead",
        RETRY_SECONDS,
    )


def _carries(node: Mapping[str, Any], selector: Mapping[str, str]) -> bool:
    labels = node["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in selector.items())


def _confines(node: Mapping[str, Any]) -> bool:
    handlers = node.get("status", {}).get("runtimeHandlers") or ()
    return any((each.get("features") or {}).get("userNamespaces") is True for each in handlers)
