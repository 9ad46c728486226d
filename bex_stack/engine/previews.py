"""The document `pulumi preview --json` prints, built from steps. Secrets are always masked.

Source: pulumi pkg/backend/display/json.go, ShowPreviewDigest (3.272); the root stack is always
listed, of other unchanged resources those whose protection changes.
"""

import threading
from collections.abc import Mapping
from typing import Any

from bex_stack.engine import differences, events, paths, state, urns
from bex_stack.engine.decisions import Decision
from bex_stack.engine.events import Operation


class Digest:
    """Collects steps as they are decided."""

    def __init__(self) -> None:
        self._steps: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def add(
        self, decision: Decision, old: state.Resource | None, new: state.Resource | None
    ) -> None:
        """Add one resource's step; what the CLI does not list is left out."""
        subject = new or old
        if (
            subject is None
            or (decision.operation is Operation.SAME and not _is_listed(subject, old))
            or urns.is_default_provider(subject.urn)
        ):
            return
        step: dict[str, Any] = {"op": decision.operation.value, "urn": subject.urn}
        if subject.provider:
            step["provider"] = subject.provider
        if old is not None:
            step["oldState"] = state.to_record(old, None)
        if new is not None:
            step["newState"] = state.to_record(new, None)
        if decision.reasons:
            step["replaceReasons"] = list(decision.reasons)
        step["detailedDiff"] = _details(decision.details)
        with self._lock:
            self._steps.append(step)

    def document(
        self,
        config: Mapping[str, str],
        diagnostics: list[events.Diagnostic],
        counts: Mapping[str, int],
        seconds: float,
    ) -> dict[str, Any]:
        """Put the whole document together."""
        return {
            "config": dict(config),
            "steps": list(self._steps),
            "diagnostics": [
                {"urn": each.urn, "message": each.message, "severity": each.severity}
                if each.urn
                else {"message": each.message, "severity": each.severity}
                for each in diagnostics
            ],
            "duration": int(seconds * 1e9),
            "changeSummary": dict(sorted(counts.items())),
        }


def _is_listed(subject: state.Resource, old: state.Resource | None) -> bool:
    """Say whether an unchanged resource is listed: the stack, or one whose protection changes."""
    return subject.type == urns.STACK_TYPE or (old is not None and old.protect != subject.protect)


def _details(details: tuple[differences.Difference, ...]) -> dict[str, Any] | None:
    if not details:
        return None
    found = {
        paths.render(each.path): {"kind": each.kind.value, "inputDiff": each.in_inputs}
        for each in details
    }
    return dict(sorted(found.items()))
