"""The chain of causes, from what the cluster holds to what people read."""

import io
from typing import Any

from rich import console as consoles

from bex_stack import why_view

APP: dict[str, Any] = {
    "metadata": {"name": "web", "uid": "a"},
    "status": {
        "phase": "Deploying",
        "activeRevision": "rev-1",
        "urls": ["http://web.localhost:8080"],
        "conditions": [
            {"type": "Released", "status": "True", "reason": "Released", "message": ""},
            {"type": "Degraded", "status": "True", "reason": "Late", "message": "one pod short"},
            {"type": "Ready", "status": "False", "reason": "CrashLoopBackOff", "message": "ends"},
        ],
    },
}
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"uid": "d"},
    "spec": {"replicas": 2},
    "status": {"readyReplicas": 1},
}


def pod(name: str, *, ready: bool, **status: Any) -> dict[str, Any]:
    """A pod on a machine."""
    condition = {"type": "Ready", "status": str(ready)}
    return {
        "metadata": {"name": name, "uid": name, "labels": {"app.bex.co/revision": "rev-2"}},
        "spec": {"nodeName": "worker-1"},
        "status": {"conditions": [condition], **status},
    }


CRASHED = pod(
    "web-2",
    ready=False,
    containerStatuses=[
        {
            "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            "lastState": {"terminated": {"exitCode": 7, "reason": "Error"}},
        }
    ],
)


def said(seen: why_view.Seen) -> list[tuple[int, bool | None, str]]:
    """The chain as plain tuples."""
    return [(link.depth, link.good, link.text) for link in why_view.chain(seen)]


def test_what_is_wrong_comes_before_what_is_right() -> None:
    """Degraded is bad when it holds, Ready when it does not."""
    lines = said(why_view.Seen(APP, DEPLOYMENT))

    assert lines[:5] == [
        (0, None, "web: Deploying, rev-1 serves"),
        (1, True, "answers at http://web.localhost:8080"),
        (1, False, "Degraded: Late: one pod short"),
        (1, False, "Ready: CrashLoopBackOff: ends"),
        (1, True, "Released: Released"),
    ]


def test_an_app_at_rest_has_nothing_bad_to_say() -> None:
    """That nothing is on its way is no trouble."""
    settled = {"type": "Progressing", "status": "False", "reason": "Settled", "message": ""}
    serves = {"type": "Ready", "status": "True", "reason": "Deployed", "message": ""}
    at_rest = {**APP, "status": {"phase": "Running", "conditions": [serves, settled]}}

    lines = said(why_view.Seen(at_rest, DEPLOYMENT))
    assert lines[1:3] == [(1, None, "Progressing: Settled"), (1, True, "Ready: Deployed")]


def test_pods_tell_how_they_ended_and_what_they_said_last() -> None:
    """A ready pod is one line; one that crashed shows exit code, restarts and its last lines."""
    seen = why_view.Seen(
        APP,
        DEPLOYMENT,
        pods=[pod("web-1", ready=True), CRASHED],
        last_lines={"web-2": ["no database"]},
    )

    assert said(seen)[5:] == [
        (1, False, "Deployment: 1 of 2 pods ready"),
        (1, True, "pod web-1 (rev-2) on worker-1: ready"),
        (1, False, "pod web-2 (rev-2) on worker-1: not ready"),
        (2, False, "waits: CrashLoopBackOff: back-off 40s"),
        (2, False, "ended with exit code 7 (Error), 3 restarts; its last lines:"),
        (3, None, "no database"),
    ]


def test_repeated_warnings_are_said_once() -> None:
    """Only the last few of each object, equal ones as one."""
    events = [{"reason": "Failed", "note": note} for note in ("a", "b", "b", "c", "d")]
    lines = said(why_view.Seen(APP, DEPLOYMENT, pods=[CRASHED], events={"web-2": events}))

    assert [text for _, _, text in lines[-3:]] == ["Failed: b", "Failed: c", "Failed: d"]


def test_a_deployment_that_is_refused_pods_says_so() -> None:
    """A ReplicaFailure is bad when it holds; other conditions when they do not."""
    conditions = [
        {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"},
        {"type": "Available", "status": "True", "message": "fine"},
        {"type": "Progressing", "status": "False", "message": "late"},
    ]
    refused = {**DEPLOYMENT, "status": {"conditions": conditions}}

    lines = [text for depth, _, text in said(why_view.Seen(APP, refused)) if depth == 2]
    assert lines == ["ReplicaFailure: exceeded quota", "Progressing: late"]


def test_brackets_of_an_app_are_not_taken_for_markup() -> None:
    """What apps print is shown as it is."""
    seen = why_view.Seen(APP, DEPLOYMENT, pods=[CRASHED], last_lines={"web-2": ["[red]x[/no]"]})
    console = consoles.Console(width=200, record=True, file=io.StringIO())

    console.print(why_view.render(why_view.chain(seen)))

    assert "[red]x[/no]" in console.export_text()
