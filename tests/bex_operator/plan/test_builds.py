"""Which build an App needs, and what came of those there were."""

import dataclasses

import orjson
import pytest

from bex_operator.api import names, status
from bex_operator.plan import artefacts, build_outcomes, builds

A, B, C = "a" * 40, "b" * 40, "c" * 40
NOW = "2026-01-01T00:01:00.000+00:00"
SOURCE = artefacts.Repository(
    repo="https://git.example.com/team/web",
    branch="main",
    root_dir=".",
    dockerfile_path="Dockerfile",
    docker_context=".",
    builder="auto",
    clone_secret=None,
)


def wish(
    commit: str | None = A,
    *,
    source: artefacts.Repository = SOURCE,
    before: status.Queue | None = None,
    **request: object,
) -> builds.Wish:
    """The App's wish for a commit."""
    asked = builds.Request(**request)  # type: ignore[arg-type]
    head = builds.Head(commit)
    return builds.Wish("uid-1", source, head, asked, "ada", before or status.Queue())


def built(
    commit: str, state: build_outcomes.State, *, again: str = "", **more: str
) -> build_outcomes.Build:
    """A build of that commit."""
    given = {"created": "2026-01-01T00:00:00Z", "branch": "main", **more}
    return build_outcomes.Build(
        job=builds.job_name("web", builds.key(wish(), commit, again=again)),
        source=builds.source_digest(SOURCE),
        commit=commit,
        state=state,
        **given,
    )


def decide(
    wanted: builds.Wish, *known: build_outcomes.Build, has_turn: bool = True
) -> builds.Decision:
    """Decide for the App `web`."""
    return builds.decide(wanted, known, app_name="web", has_turn=has_turn)


def test_new_commit_starts_one_build() -> None:
    """Deciding again, with the Job there, starts nothing."""
    first = decide(wish())
    second = decide(wish(), built(A, "Running", step="clone"))

    assert first.start == built(A, "Running").job
    assert second.start is None
    assert second.outcome == artefacts.Waiting("Building", "builds commit aaaaaaa of main: clone")
    unplaced = artefacts.Waiting(
        "Building", "builds commit aaaaaaa of v1, not placed on a machine yet"
    )
    assert decide(wish(), built(A, "Running", branch="v1")).outcome == unplaced
    assert decide(wish(ref="v1")).outcome == unplaced


def test_built_commit_is_ready_by_digest() -> None:
    """A commit is built once."""
    decision = decide(wish(), built(A, "Succeeded", image="r/i@sha256:1"))

    assert decision.outcome == artefacts.Ready("r/i@sha256:1", "commit aaaaaaa of main")
    assert decision.start is None


def test_newest_push_waits_for_the_build_that_runs() -> None:
    """A running build is not stopped, and no second one begins beside it."""
    decision = decide(wish(B), built(A, "Running"))

    assert (decision.due, decision.start) == (built(B, "Running").job, None)
    assert decision.outcome == artefacts.Waiting(
        "BuildQueued", "commit bbbbbbb of main is built when the build of aaaaaaa has ended"
    )


def told(decision: builds.Decision) -> status.Queue:
    """What the status says of a decision the next time."""
    return status.Queue(begun=decision.begun, built=decision.built)


def meanwhile(decision: builds.Decision) -> str | None:
    """The image that is run until there is another."""
    assert not isinstance(decision.outcome, artefacts.Ready)
    return decision.outcome.meanwhile.image if decision.outcome.meanwhile else None


def test_build_that_ends_well_is_run_while_a_newer_commit_is_built() -> None:
    """From its end on, whatever becomes of the newer one, and in spite of a status that is old."""
    runs, done = built(A, "Running"), built(A, "Succeeded", image="r/i@sha256:1")
    first = decide(wish(A, before=told(decide(wish(A)))), runs)
    waits = decide(wish(B, before=told(first)), runs)
    begins = decide(wish(B, before=told(waits)), done)
    builds_on = [
        decide(wish(B, before=told(each)), done, built(B, state))
        for each in (waits, begins)
        for state in ("Running", "Failed", "Cancelled")
    ]  # fmt: skip

    assert meanwhile(waits) is None
    assert begins.start is not None
    assert {meanwhile(each) for each in (begins, *builds_on)} == {"r/i@sha256:1"}
    assert meanwhile(decide(wish(C, before=told(builds_on[-1])), done)) == "r/i@sha256:1"


@pytest.mark.parametrize(
    "asked",
    [
        wish(B, source=dataclasses.replace(SOURCE, root_dir="web")),
        wish(B, source=dataclasses.replace(SOURCE, branch="next")),
        wish(B, ref="v1"),
    ],
    ids=["another root folder", "another branch", "an order of another ref"],
)
def test_build_that_is_wanted_no_more_is_not_run(asked: builds.Wish) -> None:
    """What was asked for since is something else."""
    before = told(decide(wish(A)))
    done = built(A, "Succeeded", image="r/i@sha256:1")

    assert meanwhile(decide(dataclasses.replace(asked, before=before), done)) is None


def test_build_that_its_branch_went_back_from_is_not_run() -> None:
    """Neither while the next commit is built, nor while the repository is away."""
    old = built(A, "Succeeded", image="r/i@sha256:1")
    left = built(B, "Succeeded", image="r/i@sha256:2", created=NOW)
    begun = told(decide(wish(B, before=told(decide(wish(A), old))), old))
    back = told(decide(wish(A, before=begun), old, built(B, "Running")))
    away = decide(wish(None, before=back), old, left)

    assert meanwhile(decide(wish(C, before=back), old, left)) == "r/i@sha256:1"
    assert away.outcome == artefacts.Ready("r/i@sha256:1", "commit aaaaaaa of main")
    assert told(away) == back


def test_build_that_ran_while_a_newer_one_was_cancelled_is_run() -> None:
    """What is cancelled before it begins takes nothing from the one before it."""
    before = told(decide(wish(A)))
    cancelled = built(B, "Cancelled")
    runs = told(decide(wish(B, before=before), built(A, "Running"), cancelled))
    done = built(A, "Succeeded", image="r/i@sha256:1")

    assert meanwhile(decide(wish(B, before=runs), done, cancelled)) == "r/i@sha256:1"


def test_failed_commit_is_not_built_again() -> None:
    """Only something new starts a build after a failure."""
    failed = built(A, "Failed", fault="repository", message="build: exit code 1")

    assert decide(wish(), failed).start is None
    assert decide(wish(), failed).outcome == artefacts.Failed(
        "BuildFailedUserError", "commit aaaaaaa of main: build: exit code 1"
    )
    assert decide(wish(B), failed).start is not None


@pytest.mark.parametrize(
    ("request_at", "starts"), [("2026-01-02T00:00:00Z", True), ("2025-12-31T00:00:00Z", False)]
)
def test_person_may_ask_for_a_failed_commit_again(request_at: str, starts: bool) -> None:
    """A request from after the failure counts, one from before is what failed."""
    decision = decide(wish(at=request_at), built(A, "Failed", fault="platform"))

    assert (decision.start is not None) == starts


@pytest.mark.parametrize("state", ["Cancelled", "Skipped"])
def test_what_was_not_built_is_not_built_by_itself(state: build_outcomes.State) -> None:
    """A cancelled and a skipped commit wait for somebody to ask, and are built then."""
    base = built(B, "Succeeded", image="r/i@sha256:2")
    ended = built(A, state, base=base.job, message="cancelled by ada")

    assert decide(wish(), base, ended).start is None
    assert decide(wish(at="2026-01-02T00:00:00Z"), base, ended).start is not None


def test_skipped_commit_stays_with_the_image_it_was_compared_with() -> None:
    """Whatever was built of other branches meanwhile; without that image it is built."""
    base = built(B, "Succeeded", image="r/i@sha256:2")
    other = built(C, "Succeeded", image="r/i@sha256:3", branch="other", created=NOW)
    skipped = built(A, "Skipped", base=base.job)

    assert decide(wish(), base, other, skipped).outcome == artefacts.Ready(
        "r/i@sha256:2", "commit bbbbbbb of main"
    )
    assert decide(wish(), other, skipped).start is not None


def test_cancelled_build_is_told_with_who_did_it() -> None:
    """And how to build it after all."""
    outcome = decide(wish(), built(A, "Cancelled", message="cancelled by ada during build")).outcome

    assert outcome == artefacts.Failed(
        "BuildCancelled",
        "commit aaaaaaa of main: cancelled by ada during build; bex deploy builds it",
    )


def test_trigger_says_what_started_a_build() -> None:
    """Only a push may turn out to need no build: it has a base to be compared with."""
    before = built(B, "Succeeded", image="r/i@sha256:2", scope="s1")
    moved = dataclasses.replace(SOURCE, root_dir="web", docker_context="web")
    later = "2026-01-02T00:00:00Z"

    assert decide(wish()).why == build_outcomes.Started("first", "ada")
    assert decide(wish(), before).why == build_outcomes.Started("push", base=before.job)
    assert decide(wish(source=moved), before).why == build_outcomes.Started("spec", "ada")
    assert decide(wish(at=later, ref="v1", by="bo"), before).why == (
        build_outcomes.Started("order", "bo")
    )
    # An order that found nothing new does not name a push that comes days later.
    assert decide(wish(at=later, by="bo"), before).why.trigger == "push"


def test_what_others_stay_with_is_not_forgotten() -> None:
    """Ten pushes that needed no build leave the image that serves."""
    base = built(B, "Succeeded", image="r/i@sha256:2", created="2025-01-01T00:00:00Z")
    failed = built(C, "Failed", created="2025-01-02T00:00:00Z")
    skipped = [built(f"{n:040x}", "Skipped", base=base.job) for n in range(builds.KEPT)]

    assert builds.superfluous([base, failed, *skipped]) == [failed]


def test_what_only_forgotten_builds_stay_with_is_forgotten_with_them() -> None:
    """Nothing goes back to it any more."""
    base = built(B, "Succeeded", created="01", branch="main")
    skipped = built(C, "Skipped", base=base.job, created="02")
    more = [built(f"{n:040x}", "Succeeded", created=f"{n:02}") for n in range(3, 3 + builds.KEPT)]

    assert builds.superfluous([base, skipped, *more]) == [base, skipped]


def test_clearing_the_cache_builds_a_built_commit_once_more() -> None:
    """And only once for each time it is asked for."""
    asked = {"at": "2026-01-02T00:00:00Z", "clear_cache": True}
    done = built(A, "Succeeded", image="r/i@sha256:1")
    first = decide(wish(**asked), done)
    again = built(A, "Succeeded", image="r/i@sha256:2", again="2026-01-02T00:00:00Z")

    assert first.start == again.job
    assert decide(wish(**asked), done, again).start is None


def test_what_was_built_stays_while_the_repository_is_away() -> None:
    """An operator that just started, or a git server that is down, takes nothing from an App."""
    newest = built(B, "Succeeded", image="r/i@sha256:2", created="2026-01-02T00:00:00Z")
    away = builds.Wish("uid-1", SOURCE, builds.Head(error="it does not answer"))

    assert decide(away, built(A, "Succeeded", image="r/i@sha256:1"), newest).outcome == (
        artefacts.Ready("r/i@sha256:2", "commit bbbbbbb of main")
    )
    assert decide(away).outcome == artefacts.Waiting(
        "SourceUnavailable", "spec.repo: it does not answer"
    )


def test_missing_branch_is_named_by_its_field() -> None:
    """The repository answers and has no such branch: a person has to change something."""
    gone = builds.Wish("uid-1", SOURCE, builds.Head(absent=True))

    assert decide(gone).outcome == artefacts.Failed(
        "SourceNotFound", "spec.branch: the repository has no 'main'"
    )


@pytest.mark.parametrize("name", ["seconds", "Failed"])
def test_outcome_comes_from_what_the_steps_left(name: str) -> None:
    """The digest of the push, the seconds of each step, or the fault of the one that failed."""
    ok = {"step": "push", "seconds": 1.0, "digest": "sha256:1"}
    bad = {"step": "build", "seconds": 2.0, "fault": "repository", "message": "exit code 1"}
    told, kind = (ok, "Complete") if name == "seconds" else (bad, "Failed")
    ended = {"terminated": {"message": orjson.dumps(told).decode()}}
    pod = {
        "metadata": {},
        "status": {"initContainerStatuses": [{"name": told["step"], "state": ended}]},
    }
    job = {"metadata": {}, "status": {"conditions": [{"type": kind, "status": "True"}]}}
    outcome = build_outcomes.outcome_of(job, [pod], "r/i", now=NOW)

    assert outcome["seconds"] == {told["step"]: told["seconds"]}
    assert outcome.get("image") == ("r/i@sha256:1" if told is ok else None)
    assert outcome.get("message") == (None if told is ok else "build: exit code 1")


@pytest.mark.parametrize("ref", ["--output=x", "..", "a..b", "@{", "a\nb", "a b", "", "x" * 300])
def test_ref_that_is_none_asks_for_nothing(ref: str) -> None:
    """A request on an App is no way round the rule for its branch."""
    noted = {names.DEPLOY_ANNOTATION: orjson.dumps({"at": "2026", "ref": ref}).decode()}

    assert builds.read_request({"metadata": {"annotations": noted}}).ref is None


def noted(annotation: str, **asked: object) -> dict[str, object]:
    """An App with an order in an annotation."""
    return {"metadata": {"annotations": {annotation: orjson.dumps(asked).decode()}}}


def test_request_is_read_as_it_was_written() -> None:
    """What is left out, or is of another kind than it should be, asks for nothing."""
    whole = noted(names.DEPLOY_ANNOTATION, at="t", ref="v1.2", clearCache=True, by="ada")
    odd = noted(names.DEPLOY_ANNOTATION, ref=5, clearCache="yes", by="x" * 1000)

    assert builds.read_request(whole) == builds.Request("t", "v1.2", True, by="ada")
    assert builds.read_request({"metadata": {}}) == builds.Request()
    found = builds.read_request(odd)
    assert (found.at, found.ref, found.clear_cache) == ("", None, False)
    assert found.by is not None
    assert len(found.by) < 1000


def test_order_to_cancel_is_read_as_it_was_written() -> None:
    """Somebody always asked."""
    whole = noted(names.CANCEL_ANNOTATION, job="web-1", by="ada")

    assert builds.read_cancel(whole) == builds.Cancel("web-1", by="ada")
    assert builds.read_cancel({"metadata": {}}) == builds.Cancel("", by="somebody")


def test_order_to_cancel_ends_the_build_that_it_names() -> None:
    """A later one of the same commit, due since another time, goes on."""
    order = builds.read_cancel(noted(names.CANCEL_ANNOTATION, job="web-1", wanted=NOW))

    assert order.ends("web-1", NOW)
    assert not order.ends("web-1", "2026-02-01T00:00:00Z")
    assert not order.ends("web-2", NOW)
    assert builds.Cancel("web-1").ends("web-1", NOW)


def test_build_that_lacks_an_image_of_the_platforms_says_what_mends_it() -> None:
    """It goes on by itself when the image is there."""
    lacking = built(A, "Running", step="clone", trouble="clone cannot begin")

    assert decide(wish(), lacking).outcome == artefacts.Waiting(
        "BuildImageUnavailable",
        "commit aaaaaaa of main: clone cannot begin; the platform is at fault: "
        "`bex up` pushes it again, or `bex images builder` where that was used",
    )


def test_reasons_are_words_that_programs_read() -> None:
    """One for a build that waits, one for one that begins, one for each who is at fault."""
    waits, begins = decide(wish(), has_turn=False).outcome, decide(wish()).outcome
    ours = decide(wish(), built(A, "Failed", fault="platform", message="m" * 2000)).outcome
    theirs = decide(wish(), built(A, "Failed", fault="repository", message="m" * 2000)).outcome

    assert isinstance(waits, artefacts.Waiting)
    assert isinstance(begins, artefacts.Waiting)
    assert (waits.reason, begins.reason) == ("BuildQueued", "Building")
    assert isinstance(ours, artefacts.Failed)
    assert isinstance(theirs, artefacts.Failed)
    assert (ours.reason, theirs.reason) == ("BuildFailedInfrastructure", "BuildFailedUserError")
    assert len(theirs.message) == 1500
    assert len(ours.message) <= 1500


def test_last_image_of_each_branch_is_kept() -> None:
    """A build that failed since does not take its place."""
    old = built("1" * 40, "Succeeded", created="01", branch="next")
    failed = built("2" * 40, "Failed", created="02", branch="next")
    more = [built(f"{n:040x}", "Succeeded", created=f"{n:02}") for n in range(3, 3 + builds.KEPT)]
    runs = built("f" * 40, "Running", created="0")

    assert builds.superfluous([old, failed, *more, runs]) == [failed]
