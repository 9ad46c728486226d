"""What is read off objects for the caches and their listeners."""

from typing import Any

import pytest

from bex_operator.controllers import views


@pytest.mark.parametrize(
    ("metadata", "reported", "unseen"),
    [
        ({"generation": 2}, {"observedGeneration": 2}, False),
        ({"generation": 2}, {"observedGeneration": 1}, True),
        ({"generation": 1}, {}, True),
        ({"generation": 1}, None, True),
        ({"generation": 1, "deletionTimestamp": "now"}, {"observedGeneration": 1}, True),
    ],
    ids=["seen", "changed", "half a status", "new", "deleted"],
)
def test_app_is_unseen_until_its_newest_spec_is_reported(
    metadata: dict[str, Any], reported: dict[str, Any] | None, unseen: bool
) -> None:
    """What waits for the operator is told from what it has only to look at again."""
    assert views.is_unseen({"metadata": metadata, "status": reported}) is unseen
