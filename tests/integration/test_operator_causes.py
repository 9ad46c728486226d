"""The first thing in an App's way, link by link, as pods tell it through a real API server.

Bad specs, hosts and certificates have modules of their own; quotas and machines are with the room.
"""

from typing import Any

import pytest

from tests.support.apps_cluster import Bench, bench, condition, kube, namespace

__all__ = ["bench", "kube", "namespace"]

LONG_AGO = "2026-01-31T12:00:00Z"
ENDED = {
    "exitCode": 3,
    "reason": "Error",
    "message": "one\ntwo\nno such table\n",
    "startedAt": LONG_AGO,
    "finishedAt": "2026-01-31T12:00:02Z",
}


def waiting(reason: str, message: str) -> dict[str, Any]:
    """A container that cannot begin."""
    return {"state": {"waiting": {"reason": reason, "message": message}}}


LINKS: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "image absent": (
        waiting("ErrImagePull", "manifest unknown"),
        "ImagePullBackOff",
        ("'example.com/web:1' is not in its registry", "check its name and tag"),
    ),
    "image refused": (
        waiting("ImagePullBackOff", "401 Unauthorized"),
        "ImagePullBackOff",
        ("is refused by its registry", "is not public"),
    ),
    "configuration": (
        waiting("CreateContainerConfigError", 'secret "settings" not found'),
        "CreateContainerConfigError",
        ('secret "settings" not found',),
    ),
    "crash": (
        {
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            "lastState": {"terminated": ENDED},
            "restartCount": 3,
        },
        "CrashLoopBackOff",
        ("exit code 3", "$PORT (8080)", "one | two | no such table"),
    ),
    "probe": (
        {"state": {"running": {"startedAt": LONG_AGO}}, "started": False},
        "HealthCheckFailing",
        ("nothing accepts connections on port 8080", "$PORT"),
    ),
}


@pytest.mark.parametrize(("told", "reason", "words"), LINKS.values(), ids=LINKS)
async def test_ready_names_what_is_in_the_way_and_what_mends_it(
    bench: Bench, told: dict[str, Any], reason: str, words: tuple[str, ...]
) -> None:
    """And says the same again, for as long as it stays so."""
    container = {"name": "app", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    await bench.create(port=8080)
    await bench.reconcile()

    await bench.play(ready=0, containerStatuses=[container | told])
    app = await bench.reconcile()

    status, found, message = condition(app, "Ready")
    assert (status, found) == ("False", reason)
    for each in words:
        assert each in message
    await bench.assert_settled()
