"""Who changed an App, read from what the API server keeps of its writers."""

from typing import Any

import pytest

from bex_operator.plan import authors

PERSON = {"app.bex.co/changed-by": "ada"}
NAMED = {"f:metadata": {"f:annotations": {"f:app.bex.co/changed-by": {}}}}


def entry(manager: str, second: int, **more: Any) -> dict[str, Any]:
    """One writer."""
    return {"manager": manager, "time": f"2026-01-31T12:00:{second:02}Z", **more}


@pytest.mark.parametrize(
    ("fields", "who"),
    [
        ([], None),
        ([entry("bex-operator", 1), entry("bex-operator-handover", 2)], None),
        ([entry("kubectl-edit", 2), entry("pulumi", 1)], "kubectl-edit"),
        ([entry("pulumi", 1), entry("kubectl-edit", 2), entry("bex-operator", 3)], "kubectl-edit"),
        ([entry("a", 1), entry("b", 1)], "b"),
        ([entry("a", 1), entry("kubelet", 2, subresource="status")], "a"),
        ([entry("", 1)], "unknown"),
        ([entry("x" * 300, 1)], "x" * 100),
        ([entry("bex-operators", 1)], "bex-operators"),
    ],
)
def test_last_writer_counts(fields: list[dict[str, Any]], who: str | None) -> None:
    """Neither the operator nor whoever writes a status asked for anything."""
    assert authors.changed_by({"metadata": {"managedFields": fields}}) == who


def test_person_is_named_only_by_who_wrote_last() -> None:
    """An annotation that an earlier writer left says nothing of a later change."""
    named, later = entry("bex", 1, fieldsV1=NAMED), entry("kubectl-edit", 2)

    first = {"metadata": {"managedFields": [named], "annotations": PERSON}}
    second = {"metadata": {"managedFields": [named, later], "annotations": PERSON}}
    emptied = {"metadata": {"managedFields": [named]}}
    assert authors.changed_by(first) == "ada"
    assert authors.changed_by(second) == "kubectl-edit"
    assert authors.changed_by(emptied) == "bex"
    assert authors.changed_by({"metadata": {}}) is None
