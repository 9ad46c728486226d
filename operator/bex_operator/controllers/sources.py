"""Keeps up with where refs of repositories point: one call per repository, however many Apps."""

import asyncio
import contextlib
import random
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

import structlog

from bex_operator.git import errors
from bex_operator.plan import builds

RETRY_SECONDS = 10.0
TICK_SECONDS = 0.25
AT_ONCE = 8
"""How many repositories are asked at the same time."""
AT_ONCE_BY_SSH = 4
"""Each of these is a pod, and may wait for a machine: apart, so that the others need not."""
SSH_POLL_SECONDS = 300.0
"""How often a repository is asked for which that takes a Job."""
HOOKED_POLL_SECONDS = 1800.0
"""How often a repository is asked whose server tells of pushes: a net under lost deliveries."""
FORGET_SECONDS = 900.0
"""A ref that no App asked after for so long is not asked for any more."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """A repository as one holder of a credential sees it."""

    repo: str
    namespace: str
    secret: str | None

    @property
    def speaks_ssh(self) -> bool:
        """Tell whether it is reached by ssh."""
        return not self.repo.startswith("https://")


Ask = Callable[[Place, Collection[str]], Awaitable[dict[str, str]]]
"""Returns the commits of refs; raises `git.errors`."""
Wake = Callable[[Place], None]
"""Told when a ref of the place is news."""


@dataclass(slots=True)
class _Known:
    due: float
    refs: dict[str, float] = field(default_factory=dict)
    """Refs that Apps want, and when one last did."""
    commits: dict[str, str] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()
    error: str | None = None
    hindered: bool = False
    """The error is that nobody was asked."""
    hooked: bool = False
    """Its server tells of pushes, and none was missed."""
    requested: str = ""
    """The newest order or word of a push."""
    answered: str = ""
    """The last of them that the repository was asked for."""
    order: str = ""
    """The newest order."""
    pushed: str = ""
    """The newest word of a push."""
    ordered: frozenset[str] = frozenset()
    """Refs whose commit became known because a person asked."""
    busy: bool = False


class Sources:
    """What is known of refs; `run` keeps it true."""

    def __init__(self, ask: Ask, wake: Wake, *, poll_seconds: float) -> None:
        self._ask = ask
        self._wake = wake
        self._poll_seconds = poll_seconds
        self._known: dict[Place, _Known] = {}
        self._rooms = {
            speaks_ssh: asyncio.Semaphore(AT_ONCE_BY_SSH if speaks_ssh else AT_ONCE)
            for speaks_ssh in (False, True)
        }
        self._stirred = asyncio.Event()

    def head(self, place: Place, ref: str, *, requested: str = "", pushed: str = "") -> builds.Head:
        """Say where *ref* points; ask for it soon if nobody did.

        Ask at once if *requested*, a person's order, or *pushed*, its server's word, is new.
        """
        if _COMMIT.fullmatch(ref):
            return builds.Head(ref)
        now = asyncio.get_running_loop().time()
        known = self._known.setdefault(place, _Known(due=now))
        known.refs[ref] = now
        known.hooked = known.hooked or pushed > known.pushed
        known.order, known.pushed = max(requested, known.order), max(pushed, known.pushed)
        news = max(requested, pushed)
        if ref not in known.asked or news > known.requested:
            known.requested = max(news, known.requested)
            if known.error is None or news:
                known.due = min(known.due, now)
            self._stirred.set()
        if ref not in known.asked:
            return builds.Head(error=known.error)
        commit = known.commits.get(ref)
        absent = commit is None and known.error is None
        return builds.Head(commit, known.error, absent=absent, ordered=ref in known.ordered)

    async def run(self) -> None:
        """Ask for what is due, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                now = asyncio.get_running_loop().time()
                for place, known in list(self._known.items()):
                    if known.busy or known.due > now:
                        continue
                    wanted = {ref for ref, at in known.refs.items() if now - at < FORGET_SECONDS}
                    if not wanted:
                        del self._known[place]
                        continue
                    known.busy = True
                    group.create_task(self._refresh(place, known, frozenset(wanted)))
                self._stirred.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_SECONDS):
                        await self._stirred.wait()
                await asyncio.sleep(0.01)

    async def _refresh(self, place: Place, known: _Known, wanted: frozenset[str]) -> None:
        before = dict(known.commits), known.asked, known.error
        answered, was_told = known.requested, known.requested > known.answered
        is_order = known.order > known.answered and bool(known.asked)
        try:
            async with self._rooms[place.speaks_ssh]:
                known.commits = await self._ask(place, wanted)
            known.asked, known.error, known.answered = wanted, None, answered
            moved = {ref for ref in wanted if known.commits.get(ref) != before[0].get(ref)}
            known.ordered = known.ordered | moved if is_order else known.ordered - moved
            # A push that nobody told of: the hook is gone, or deliveries fail.
            known.hooked = known.hooked and not (moved and before[1] and not was_told)
        except errors.GitError as trouble:
            known.error, known.hindered = str(trouble), isinstance(trouble, errors.Hindered)
        except Exception:  # noqa: BLE001 - one repository must not end the care for all others
            _log.exception("source.poison", repo=place.repo)
            known.error = "asking the repository failed; the operator's log says why"
            known.hindered = False
        now = asyncio.get_running_loop().time()
        known.due = now + self._pause(place, known) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        if known.requested > answered:
            known.due = now  # there was news while the answer came
        known.refs = {ref: at for ref, at in known.refs.items() if ref in wanted or at >= now - 60}
        known.busy = False
        if (known.commits, known.asked, known.error) != before:
            self._wake(place)

    def _pause(self, place: Place, known: _Known) -> float:
        if known.error:
            costly = place.speaks_ssh and not known.hindered
            return SSH_POLL_SECONDS if costly else RETRY_SECONDS
        slow = SSH_POLL_SECONDS if place.speaks_ssh else 0.0
        return max(self._poll_seconds, slow, HOOKED_POLL_SECONDS if known.hooked else 0.0)
