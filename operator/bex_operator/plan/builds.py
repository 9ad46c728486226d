"""Builds: which one an App needs, by what was asked for and what became of those there were. Pure.

A build is one Job. What came of it is written on the Job itself, which stays after its pod: so a
commit is built once, one that failed is not tried again, and an operator that was away knows both.
"""

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bex_operator.api import images, names, status
from bex_operator.plan import artefacts
from bex_operator.plan.build_outcomes import NO_REASON, Build, Started

COMPONENT = "build"
KEPT = images.KEPT_BUILDS
"""How many finished builds of an App are remembered."""
PUSHES_AGAIN = "`bex up` pushes it again, or `bex images builder` where that was used"
TURN_SECONDS = 30.0
"""How often an App whose turn has not come asks again; it is woken when its turn comes."""

_REF = re.compile(r"(?=.{1,255}$)[A-Za-z0-9]([A-Za-z0-9_@+-]|[./][A-Za-z0-9_@+-])*")
"""What a branch may be called in an App's spec; a tag or commit may be no more."""
_NAME_LIMIT = 100
BUILD_OF_LABEL = f"{names.GROUP}/build-of"
NAMESPACE_LABEL = f"{names.GROUP}/app-namespace"


@dataclass(frozen=True, slots=True)
class Request:
    """What `bex deploy` asked for; without one an App follows its branch."""

    at: str = ""
    """When, as a time; a later one asks anew."""
    ref: str | None = None
    """A branch, tag or commit to deploy instead of the branch's head."""
    clear_cache: bool = False
    by: str | None = None
    """Who asked."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """What `bex cancel` asked for: the end of one build."""

    job: str = ""
    wanted: str | None = None
    """Since when that build was due: tells it from a later one of the same commit."""
    by: str = "somebody"

    def ends(self, job: str, wanted: str) -> bool:
        """Tell whether it was asked for the end of the build *job*, due since *wanted*."""
        return job == self.job and self.wanted in {None, wanted}


@dataclass(frozen=True, slots=True)
class Head:
    """What a ref of a repository is, as far as is known."""

    commit: str | None = None
    error: str | None = None
    """Why it is not known; the last known commit stays beside it."""
    absent: bool = False
    """The repository answers, and has no such ref."""
    ordered: bool = False
    """It became known because a person asked, not by itself."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The build that an App needs."""

    uid: str
    source: artefacts.Repository
    head: Head
    request: Request = Request()
    changed_by: str | None = None
    """Who changed the App last."""
    before: status.Queue = dataclasses.field(default_factory=status.Queue)
    """What was told of the App's builds last."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the App is told, and the Job to make, if one is due."""

    outcome: artefacts.Outcome
    due: str | None = None
    """Name of the Job that is wanted and not there."""
    start: str | None = None
    """The same, if it may be made now."""
    why: Started = NO_REASON
    """What it is due for."""
    begun: str | None = None
    """Name of the Job that is released when it ends well, whatever is due by then."""
    built: str | None = None
    """Name of the last Job before it that ended well."""


def read_request(manifest: Mapping[str, Any]) -> Request:
    """Read what a person asked for; what cannot be understood asks for nothing."""
    given = _noted(manifest, names.DEPLOY_ANNOTATION)
    ref, by = given.get("ref"), given.get("by")
    return Request(
        at=str(given.get("at", "")),
        ref=ref if isinstance(ref, str) and _REF.fullmatch(ref) else None,
        clear_cache=given.get("clearCache") is True,
        by=str(by)[:_NAME_LIMIT] if by else None,
    )


def read_cancel(manifest: Mapping[str, Any]) -> Cancel:
    """Read which build a person wants ended."""
    given = _noted(manifest, names.CANCEL_ANNOTATION)
    wanted = given.get("wanted")
    return Cancel(
        job=str(given.get("job", "")),
        wanted=str(wanted) if wanted is not None else None,
        by=str(given.get("by") or "somebody")[:_NAME_LIMIT],
    )


def _noted(manifest: Mapping[str, Any], annotation: str) -> dict[str, Any]:
    text = (manifest["metadata"].get("annotations") or {}).get(annotation, "")
    try:
        given = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {}
    return given if isinstance(given, dict) else {}


def source_digest(source: artefacts.Repository) -> str:
    """Digest everything that a build is made from but the commit."""
    inputs = (source.repo, source.root_dir, source.dockerfile_path, source.docker_context)
    text = orjson.dumps((*inputs, source.builder))
    return hashlib.sha256(text).hexdigest()[:16]


def key(wish: Wish, commit: str, *, again: str = "") -> str:
    """Name a build by what it is made from; *again* tells one that is repeated from the first."""
    parts = (wish.uid, source_digest(wish.source), commit, again)
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:12]


def job_name(app_name: str, build_key: str) -> str:
    """Name the Job of a build."""
    return names.joined(app_name, build_key, limit=names.LABEL_LIMIT)


def decide(wish: Wish, known: Sequence[Build], *, app_name: str, has_turn: bool = True) -> Decision:
    """Choose what the App runs, and whether a build has to begin for it.

    A build that ends well while a newer commit waits is run until that one is built, too: else
    pushes that come faster than builds end would keep every one of them from being released.
    """
    commit, last = wish.head.commit, _last_built(wish, known)
    if commit is None:
        outcome = _without_commit(wish, known, last)
        return Decision(outcome, begun=wish.before.begun, built=wish.before.built)
    found = _find(wish, commit, known, app_name)
    if found is None:
        decision = _begin(wish, commit, known, app_name, has_turn=has_turn)
    else:
        decision = Decision(_told(wish, found, known))
    return _beside(wish, decision, found, last)


def _last_built(wish: Wish, known: Iterable[Build]) -> Build | None:
    """Return what was built last of what was wanted: never one that its branch went back from."""
    by_name = {each.job: each for each in known}
    begun = by_name.get(wish.before.begun or "")
    if begun is not None and begun.state == "Succeeded" and _is_of(wish, begun):
        return begun
    return by_name.get(wish.before.built or "")


def _is_of(wish: Wish, build: Build) -> bool:
    ref = wish.request.ref or wish.source.branch
    return build.source == source_digest(wish.source) and build.branch == ref


def _beside(wish: Wish, decision: Decision, found: Build | None, last: Build | None) -> Decision:
    """Add what is run until there is what is wanted, and which builds count from now on."""
    outcome, begun = decision.outcome, decision.start or wish.before.begun
    built = last.job if last is not None else wish.before.built
    if found is not None and found.state != "Cancelled":
        # A build that was cancelled while it waited leaves the one that ran meanwhile.
        begun = found.job
    if isinstance(outcome, artefacts.Ready):
        assert found is not None  # noqa: S101 - nothing else is ready
        begun = built = found.base if found.state == "Skipped" else found.job
    elif last is not None and _is_of(wish, last):
        outcome = dataclasses.replace(outcome, meanwhile=_ready(last))
    return dataclasses.replace(decision, outcome=outcome, begun=begun, built=built)


def _told(wish: Wish, found: Build, known: Sequence[Build]) -> artefacts.Outcome:
    """Say what the build that counts means for the App."""
    shown = f"commit {found.commit[:7]} of {found.branch or wish.source.branch}"
    match found.state:
        case "Succeeded":
            return _ready(found)
        case "Skipped":
            return _ready(next(each for each in known if each.job == found.base))
        case "Cancelled":
            message = f"{shown}: {found.message}; bex deploy builds it"
            return artefacts.Failed("BuildCancelled", message)
        case "Failed":
            return _failed(found, shown)
        case "Running" if found.trouble:
            message = f"{shown}: {found.trouble}; the platform is at fault: {PUSHES_AGAIN}"
            return artefacts.Waiting("BuildImageUnavailable", message)
        case "Running":
            step = f": {found.step}" if found.step else ", not placed on a machine yet"
            return artefacts.Waiting("Building", f"builds {shown}{step}")


def _begin(
    wish: Wish, commit: str, known: Sequence[Build], app_name: str, *, has_turn: bool
) -> Decision:
    shown = f"commit {commit[:7]} of {wish.request.ref or wish.source.branch}"
    again = _again(wish, commit, known, app_name)
    name = job_name(app_name, key(wish, commit, again=again))
    why = _why(wish, known, again)
    running = next((each for each in known if each.state == "Running"), None)
    if running is not None:
        # Run to the end: a newer push that stopped it could be stopped by the next, for ever.
        message = f"{shown} is built when the build of {running.commit[:7]} has ended"
        return Decision(artefacts.Waiting("BuildQueued", message), name, why=why)
    if not has_turn:
        message = f"{shown} is built when other builds have ended"
        return Decision(artefacts.Waiting("BuildQueued", message, TURN_SECONDS), name, why=why)
    message = f"builds {shown}, not placed on a machine yet"
    return Decision(artefacts.Waiting("Building", message), name, name, why)


def _why(wish: Wish, known: Sequence[Build], again: str) -> Started:
    """Tell what starts a build. Only a push may turn out to need none."""
    request, last = wish.request, max(known, key=lambda each: each.created, default=None)
    since = last.created if last is not None else ""
    is_ordered = request.ref is not None or again == request.at or wish.head.ordered
    if request.at and is_ordered and (again or request.at > since):
        return Started("order", request.by)
    if last is None:
        return Started("first", wish.changed_by)
    if last.source != source_digest(wish.source):
        return Started("spec", wish.changed_by)
    ref = request.ref or wish.source.branch
    bases = [each for each in _built(wish, known) if each.branch == ref and each.scope]
    return Started("push", base=bases[-1].job if bases else "")


def _find(wish: Wish, commit: str, known: Sequence[Build], app_name: str) -> Build | None:
    """Find the build of *commit* that counts: the one a person asked for after it failed."""
    by_name = {each.job: each for each in known}
    again = _again(wish, commit, known, app_name)
    return by_name.get(job_name(app_name, key(wish, commit, again=again)))


def _again(wish: Wish, commit: str, known: Sequence[Build], app_name: str) -> str:
    """Tell a repeated build from the first: asked for without a cache, or after it made nothing."""
    request = wish.request
    if request.clear_cache:
        return request.at
    by_name = {each.job: each for each in known}
    first = by_name.get(job_name(app_name, key(wish, commit)))
    if first is None or first.state in {"Running", "Succeeded"}:
        return ""
    if request.at > first.created:
        return request.at
    return "base is gone" if first.state == "Skipped" and first.base not in by_name else ""


def _built(wish: Wish, known: Iterable[Build]) -> list[Build]:
    """Return what was built of the present source, oldest first."""
    digest = source_digest(wish.source)
    built = [each for each in known if each.state == "Succeeded" and each.source == digest]
    return sorted(built, key=lambda each: each.created)


def _without_commit(wish: Wish, known: Sequence[Build], last: Build | None) -> artefacts.Outcome:
    """Stay with what was built while the repository does not answer."""
    ref = wish.request.ref or wish.source.branch
    if wish.head.absent:
        return artefacts.Failed("SourceNotFound", f"spec.branch: the repository has no {ref!r}")
    if last is not None and last.source == source_digest(wish.source):
        return _ready(last)
    if built := _built(wish, known):
        return _ready(built[-1])
    if wish.head.error is not None:
        return artefacts.Waiting("SourceUnavailable", f"spec.repo: {wish.head.error}")
    return artefacts.Waiting("Building", f"asks the repository for {ref}")


def _ready(built: Build) -> artefacts.Ready:
    origin = f"commit {built.commit[:7]} of {built.branch}"
    return artefacts.Ready(built.image, origin, built.made)


def _failed(found: Build, shown: str) -> artefacts.Failed:
    if found.fault == "repository":
        return artefacts.Failed("BuildFailedUserError", f"{shown}: {found.message}"[:1500])
    said = found.message or "no reason is known"
    text = f"{shown}: the platform could not build it: {said}; try again with bex deploy"
    return artefacts.Failed("BuildFailedInfrastructure", text[:1500])


def superfluous(known: Sequence[Build]) -> list[Build]:
    """Return the builds to forget: all that have ended but the last, and what those stay with."""
    ended = sorted(
        (each for each in known if each.state != "Running"), key=lambda each: each.created
    )
    kept = {each.job for each in ended[-KEPT:]}
    kept |= {each.base for each in known if each.state == "Running" or each.job in kept}
    # The last image of each branch: a push that changes nothing stays with it.
    kept |= set({each.branch: each.job for each in ended if each.state == "Succeeded"}.values())
    return [each for each in ended if each.job not in kept]
