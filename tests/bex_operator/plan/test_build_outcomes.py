"""What is read from a build's Job and pods, and what stays of it on the Job."""

import json
from typing import Any

import pytest

from bex_operator.api import records
from bex_operator.plan import build_outcomes

NOW = "2026-01-31T12:02:00Z"
STARTED = build_outcomes.Started(
    "order", "ada", "2026-01-31T12:00:00Z", "2026-01-31T12:00:01.500Z", "web-00"
)
CLONED = {
    "step": "clone",
    "seconds": 1.5,
    "author": "Bo",
    "subject": "Mend",
    "scope": "s1",
    "began": "2026-01-31T12:00:04Z",
}
RESOLVED = {"step": "resolve", "seconds": 0.1, "strategy": "go"}
BUILT = {"step": "build", "seconds": 20}
PUSHED = {"step": "push", "seconds": 2, "digest": "sha256:d"}
SO_FAR = {
    "seconds": {"queue": 1.5, "place": 2.5, "clone": 1.5},
    "author": "Bo",
    "subject": "Mend",
    "scope": "s1",
    "strategy": "",
}


def job(*conditions: dict[str, Any], outcome: dict[str, Any] | None = None) -> dict[str, Any]:
    """The Job of a build."""
    annotations = {
        "app.bex.co/source": "s",
        "app.bex.co/commit": "c1",
        "app.bex.co/branch": "main",
        "app.bex.co/order": build_outcomes.encode_started(STARTED),
    }
    if outcome is not None:
        annotations["app.bex.co/outcome"] = build_outcomes.encode(outcome)
    metadata = {"name": "web-01", "creationTimestamp": "t1", "annotations": annotations}
    return {"metadata": metadata, "status": {"conditions": list(conditions)}}


def ended(kind: str, **more: str) -> dict[str, Any]:
    """A condition that holds."""
    return {"type": kind, "status": "True", **more}


def pod(
    *told: dict[str, Any], created: str = "1", node: str = "m1", code: int = 0
) -> dict[str, Any]:
    """A pod whose steps left this; the last container is that of the last step."""
    left = [
        {
            "name": each["step"],
            "state": {"terminated": {"exitCode": code, "message": json.dumps(each)}},
        }
        for each in told
    ]
    waiting = [
        {"name": step, "state": {"waiting": {}}} for step in build_outcomes.STEPS[len(left) :]
    ]
    every = [*left, *waiting]
    return {
        "metadata": {"creationTimestamp": created},
        "spec": {"nodeName": node} if node else {},
        "status": {"initContainerStatuses": every[:-1], "containerStatuses": every[-1:]},
    }


def outcome(*conditions: dict[str, Any], pods: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum up a Job."""
    return build_outcomes.outcome_of(job(*conditions), iter(pods), "r/i", now=NOW)


def test_build_that_runs_is_read_from_its_job_and_pod() -> None:
    """Nothing is known of its end; the step is the first that has not ended."""
    found = build_outcomes.read(job(), [pod(CLONED)])

    made = records.Made(job="web-01", commit="c1", trigger="order", by="ada")
    assert found == build_outcomes.Build(
        "web-01", "s", "c1", "main", "Running", "t1", step="resolve", base="web-00", made=made
    )


def test_build_that_ended_is_read_from_its_job_alone() -> None:
    """Everything that its pods had told is there."""
    kept = {"state": "Succeeded", "image": "r/i@d", "scope": "s1", "fault": "f", "message": "m"}
    kept |= {"author": "Bo", "subject": "Mend", "ended": NOW, "seconds": {"build": 20}}

    found = build_outcomes.read(job(outcome=kept), [pod(CLONED)])

    assert found == build_outcomes.Build(
        *("web-01", "s", "c1", "main", "Succeeded", "t1"),
        image="r/i@d",
        scope="s1",
        fault="f",
        message="m",
        base="web-00",
        made=records.Made(
            job="web-01",
            commit="c1",
            author="Bo",
            subject="Mend",
            trigger="order",
            by="ada",
            ended=NOW,
            seconds={"build": 20.0},
        ),
    )


def test_job_that_says_nothing_is_a_build_that_runs() -> None:
    """Whatever annotations it lacks."""
    found = build_outcomes.read({"metadata": {"name": "web-01"}})

    made = records.Made(job="web-01", commit="")
    assert found == build_outcomes.Build("web-01", "", "", "", "Running", "", made=made)


def test_only_what_a_start_has_is_written() -> None:
    """It is read as it was."""
    text = build_outcomes.encode_started(build_outcomes.Started("spec", base="b"))

    assert json.loads(text) == {"trigger": "spec", "base": "b"}
    assert build_outcomes.read_started(job()) == STARTED


@pytest.mark.parametrize(
    ("made", "unnoted", "running"),
    [
        (job(), False, True),
        (job({"type": "Complete", "status": "False"}), False, True),
        (job({"type": "Failed", "status": "False"}), False, True),
        (job(ended("Complete")), True, False),
        (job(ended("FailureTarget"), ended("Failed")), True, False),
        (job(ended("Complete"), outcome={}), False, False),
        (job(outcome={}), False, False),
        ({"metadata": {"name": "j"}}, False, True),
    ],
)
def test_end_is_noted_once(made: dict[str, Any], unnoted: bool, running: bool) -> None:
    """A cancelled one is noted before its Job has ended."""
    assert build_outcomes.has_ended_unnoted(made) is unnoted
    assert build_outcomes.is_running(made) is running


@pytest.mark.parametrize(
    ("told", "code", "uid", "has_ended"),
    [
        ((CLONED, RESOLVED, BUILT, PUSHED), 0, "u1", True),
        ((CLONED, RESOLVED, BUILT, PUSHED), 0, "u0", False),
        ((CLONED, RESOLVED, BUILT, PUSHED), 1, "u1", False),
        ((CLONED, RESOLVED, BUILT), 0, "u1", False),
    ],
)
def test_last_step_that_did_well_ends_its_job(
    told: tuple[dict[str, Any], ...], code: int, uid: str, has_ended: bool
) -> None:
    """The pod and the Job say so later; a pod of an earlier Job of its name says nothing."""
    running, done = job(), pod(*told, code=code)
    running["metadata"]["uid"] = "u1"
    done["metadata"]["labels"] = {"batch.kubernetes.io/controller-uid": uid}
    found = build_outcomes.outcome_of(running, [done], "r/i", now=NOW)

    assert build_outcomes.has_ended_unnoted(running, [done]) is has_ended
    assert (found["state"] == "Succeeded") is has_ended


@pytest.mark.parametrize(
    ("made", "held"),
    [
        (job() | {"spec": {"suspend": True}}, True),
        (job() | {"spec": {"suspend": False}}, False),
        (job() | {"spec": {}}, False),
        (job(ended("Complete")) | {"spec": {"suspend": True}}, False),
        (job(outcome={}) | {"spec": {"suspend": True}}, False),
    ],
)
def test_job_is_held_until_its_credentials_are_there(made: dict[str, Any], held: bool) -> None:
    """One that was cancelled meanwhile is not."""
    assert build_outcomes.is_held(made) is held


def test_only_the_job_that_was_seen_is_released() -> None:
    """Neither a later one of its name, nor one on which an end was noted since. RFC 6902."""
    made = job()
    made["metadata"]["uid"] = "u1"

    assert build_outcomes.release(made) == [
        {"op": "test", "path": "/metadata/uid", "value": "u1"},
        {"op": "test", "path": "/metadata/annotations", "value": made["metadata"]["annotations"]},
        {"op": "replace", "path": "/spec/suspend", "value": False},
    ]


def test_steps_are_named_in_the_order_they_run_in() -> None:
    """Of pods with one step, too."""
    steps = {"initContainers": [{"name": "clone"}], "containers": [{"name": "push"}]}

    assert build_outcomes.steps_of({"spec": steps}) == ["clone", "push"]
    assert build_outcomes.steps_of({"spec": {"containers": [{"name": "refs"}]}}) == ["refs"]


def test_answer_is_what_the_only_step_said() -> None:
    """There is none while it runs."""
    said = {"step": "refs", "refs": {"main": "c1"}}

    assert build_outcomes.answer_of([pod(), pod(said)]) == said
    assert build_outcomes.answer_of([pod()]) is None


def test_pod_whose_containers_are_unknown_ends_nothing() -> None:
    """Nobody has looked at it yet."""
    running, seen = job(), pod()
    running["metadata"]["uid"] = "u1"
    seen["metadata"]["labels"] = {"batch.kubernetes.io/controller-uid": "u1"}
    seen["status"] = {"phase": "Pending"}

    assert not build_outcomes.has_ended_unnoted(running, [seen])


def test_image_is_known_by_the_digest_that_was_pushed() -> None:
    """With the time of every step, and of the waits before them; making room is in those."""
    steps = ({"step": "room", "began": NOW, "seconds": 0.5}, CLONED, RESOLVED, BUILT, PUSHED)

    assert outcome(ended("Complete"), pods=[pod(*steps)]) == {
        "seconds": {
            "queue": 1.5,
            "place": 2.5,
            "clone": 1.5,
            "resolve": 0.1,
            "build": 20,
            "push": 2,
        },
        "author": "Bo",
        "subject": "Mend",
        "scope": "s1",
        "strategy": "go",
        "state": "Succeeded",
        "ended": NOW,
        "image": "r/i@sha256:d",
        "machine": "m1",
    }


def test_commit_that_need_not_be_built_is_skipped() -> None:
    """The clone says why, and the Job counts as failed."""
    told = CLONED | {"skipped": "nothing that counts changed"}

    assert outcome(ended("Failed"), pods=[pod(told)]) == SO_FAR | {
        "state": "Skipped",
        "ended": NOW,
        "message": "nothing that counts changed",
    }


def test_step_that_names_a_fault_is_why() -> None:
    """Of several tries the newest counts, whatever the order they come in."""
    old = pod(CLONED, RESOLVED | {"fault": "platform", "message": "old"}, created="1")
    new = pod(CLONED, RESOLVED | {"fault": "repository", "message": "no FROM"}, created="2")

    found = outcome(ended("Failed"), pods=[new, old])

    assert (found["state"], found["fault"]) == ("Failed", "repository")
    assert found["message"] == "resolve: no FROM"
    assert found["strategy"] == "go"


def dead(step: str, reason: str) -> dict[str, Any]:
    """A pod one of whose steps ended without a word."""
    ends = {"terminated": {"reason": reason, "message": "Killed"}}
    return {"metadata": {}, "status": {"containerStatuses": [{"name": step, "state": ends}]}}


@pytest.mark.parametrize(
    ("condition", "pods", "message"),
    [
        (ended("Failed"), [dead("build", "OOMKilled")], "build: needs more memory than"),
        (ended("Failed", reason="DeadlineExceeded", message="x"), [], "it took longer than a"),
        (ended("Failed", reason="B", message="limit"), [dead("build", "Error")], "limit"),
        (ended("Failed", message="m" * 501), [], "m" * 500),
        (ended("Failed"), [], "its pod ended without a word"),
        (ended("Complete"), [pod(CLONED, RESOLVED, BUILT)], "its pod ended without a word"),
    ],
)
def test_end_without_a_word_is_the_platforms(
    condition: dict[str, Any], pods: list[dict[str, Any]], message: str
) -> None:
    """As is an image that nobody knows the digest of."""
    found = outcome(condition, pods=pods)

    assert (found["state"], found["fault"]) == ("Failed", "platform")
    assert found["message"].startswith(message)
    assert len(found["message"]) <= 500


def test_cancelled_build_says_who_and_where() -> None:
    """A step that has begun; before a machine was found there is none."""
    during = build_outcomes.cancelled(job(), iter([pod(CLONED)]), "ada", now=NOW)
    before = build_outcomes.cancelled(job(), iter([pod(node="")]), "ada", now=NOW)

    said = {"state": "Cancelled", "ended": NOW, "by": "ada"}
    assert during == SO_FAR | said | {"message": "cancelled by ada during resolve"}
    assert before["message"] == "cancelled by ada before it began"


@pytest.mark.parametrize(
    ("pods", "step"),
    [
        ([], ""),
        ([{"metadata": {}}], ""),
        ([pod(node=""), pod(CLONED, RESOLVED)], "build"),
        ([pod()], "clone"),
        ([pod(CLONED, RESOLVED, BUILT, PUSHED)], "push"),
        ([{"spec": {"nodeName": "m"}}], "push"),
    ],
)
def test_step_that_runs_is_the_first_that_has_not_ended(
    pods: list[dict[str, Any]], step: str
) -> None:
    """Of the pod that has a machine; when all have ended the last one."""
    assert build_outcomes.current_step(pods) == step


@pytest.mark.parametrize(
    "message", ["", "no json", '"text"', '{"step": "push"}', '{"author": "x"}'], ids=repr
)
def test_what_a_step_cannot_have_said_counts_for_nothing(message: str) -> None:
    """Only its own words; a container that a tenant's code runs in may leave anything."""
    left = {"name": "clone", "state": {"terminated": {"message": message}}}
    odd = {"metadata": {}, "status": {"containerStatuses": [left]}}

    found = outcome(ended("Failed"), pods=[odd])

    assert found["author"] == ""
    assert found["seconds"] == {"queue": 1.5}


def test_times_that_run_backwards_are_none_at_all() -> None:
    """Clocks of two machines differ."""
    made = job(ended("Complete"))
    early = CLONED | {"began": "2026-01-31T11:59:00Z"}

    found = build_outcomes.outcome_of(made, [pod(early)], "i", now=NOW)

    assert found["seconds"]["place"] == 0.0
    del made["metadata"]["annotations"]["app.bex.co/order"]
    found = build_outcomes.outcome_of(made, [pod(early)], "i", now=NOW)
    assert found["seconds"] == {"clone": 1.5}


def test_phases_of_buildpacks_count_as_the_steps_they_stand_for() -> None:
    """A breakdown has the same parts whatever an image is built with."""
    phases = ("analyze", "detect", "restore", "build", "export", "contents")
    told = [{"step": step, "began": "", "seconds": 1.5} for step in phases]
    made = outcome(ended("Complete"), pods=[pod(CLONED, RESOLVED, *told, PUSHED)])

    assert made["seconds"]["build"] == 6.0
    assert made["seconds"]["push"] == 5.0
    assert not made["seconds"].keys() & {"analyze", "detect", "restore", "export", "contents"}


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_step_without_its_image_says_so(reason: str) -> None:
    """While it waits, and when the build was given up over it."""
    waits = {"name": "resolve", "image": "r/steps:1", "state": {"waiting": {"reason": reason}}}
    lacking = pod(CLONED)
    lacking["status"]["initContainerStatuses"].append(waits)
    late = job(ended("Failed", reason="DeadlineExceeded"))
    given_up = build_outcomes.outcome_of(late, [lacking], "r/i", now=NOW)
    told = "resolve cannot begin: image 'r/steps:1' cannot be pulled"

    assert build_outcomes.read(job(), [lacking]).trouble == told
    assert build_outcomes.read(job(), [pod(CLONED)]).trouble == ""
    assert (given_up["fault"], given_up["message"]) == ("platform", told)
