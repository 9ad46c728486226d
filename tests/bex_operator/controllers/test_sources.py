"""How repositories are asked for their heads: once for many Apps, soon when somebody wants it."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from bex_operator.controllers import sources
from bex_operator.git import errors
from bex_operator.plan import builds
from tests.support.waiting import until

COMMIT, LATER = "a" * 40, "b" * 40
PLACE = sources.Place("https://git.example.com/team/web", "apps", None)


@dataclass
class Server:
    """What a git server would answer, and how often it was asked."""

    refs: dict[str, str] = field(default_factory=lambda: {"main": COMMIT, "next": LATER})
    asked: list[frozenset[str]] = field(default_factory=list)
    woken: int = 0
    trouble: errors.GitError | None = None

    async def ask(self, _: sources.Place, wanted: Collection[str]) -> dict[str, str]:
        """Answer as `git.remotes` does."""
        self.asked.append(frozenset(wanted))
        if self.trouble is not None:
            raise self.trouble
        return {name: self.refs[name] for name in wanted if name in self.refs}

    def wake(self, _: sources.Place) -> None:
        """Count news."""
        self.woken += 1


@asynccontextmanager
async def running(server: Server, poll_seconds: float = 3600.0) -> AsyncIterator[sources.Sources]:
    """Keep sources going for a test."""
    made = sources.Sources(server.ask, server.wake, poll_seconds=poll_seconds)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def known(source: sources.Sources, ref: str) -> builds.Head:
    """Wait until the ref's commit is known."""

    async def is_known() -> bool:
        return source.head(PLACE, ref).commit is not None

    await until(is_known, f"{ref} is known")
    return source.head(PLACE, ref)


async def test_many_apps_of_a_repository_ask_it_once() -> None:
    """Two hundred looks at two branches are one question about both."""
    server = Server()
    async with running(server) as source:
        for _ in range(100):
            source.head(PLACE, "main")
            source.head(PLACE, "next")
        heads = await known(source, "main"), await known(source, "next")

    assert heads == (builds.Head(COMMIT), builds.Head(LATER))
    assert server.asked == [frozenset({"main", "next"})]
    assert server.woken == 1


async def test_question_that_was_never_put_is_put_again_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only what a server has answered makes the next Job wait for minutes."""
    monkeypatch.setattr(sources, "RETRY_SECONDS", 0.01)
    server = Server(trouble=errors.Hindered("an earlier question is still under way"))
    place = sources.Place("ssh://git@git.example.com/team/web", "apps", "key")
    async with running(server) as source:
        source.head(place, "main")
        await until(lambda: _asked(server, 3), "it is asked again and again")
        server.trouble = errors.Unavailable("the server hangs up")
        await until(lambda: _says(source, place, "the server hangs up"), "it says so")

        assert source._known[place].due > asyncio.get_running_loop().time() + 60


async def _asked(server: Server, times: int) -> bool:
    return len(server.asked) >= times


async def _says(source: sources.Sources, place: sources.Place, error: str) -> bool:
    return source.head(place, "main").error == error


async def test_moved_branch_wakes_its_apps() -> None:
    """The poll finds the new head and tells, once."""
    server = Server()
    async with running(server, poll_seconds=0.01) as source:
        await known(source, "main")
        server.refs["main"] = LATER

        async def has_moved() -> bool:
            return source.head(PLACE, "main").commit == LATER

        await until(has_moved, "the head has moved")

    assert server.woken == 2


async def test_person_does_not_wait_for_the_next_poll() -> None:
    """A request that is new asks at once; the same request again asks nothing."""
    server = Server()
    async with running(server) as source:
        await known(source, "main")
        server.refs["main"] = LATER

        async def has_moved() -> bool:
            return source.head(PLACE, "main", requested="2026-01-01").commit == LATER

        await until(has_moved, "the request was answered")

    assert len(server.asked) == 2


async def test_server_that_fails_keeps_what_was_known() -> None:
    """The last commit stays, beside what is wrong."""
    server = Server()
    async with running(server, poll_seconds=0.01) as source:
        await known(source, "main")
        server.trouble = errors.Unavailable("it does not answer")

        async def has_failed() -> bool:
            return source.head(PLACE, "main").error is not None

        await until(has_failed, "the failure is known")
        head = source.head(PLACE, "main")

    assert head == builds.Head(COMMIT, "it does not answer")


async def test_commit_needs_no_server() -> None:
    """A whole commit is what it is."""
    server = Server()
    async with running(server) as source:
        head = source.head(PLACE, COMMIT)

    assert head == builds.Head(COMMIT)
    assert server.asked == []


async def test_missing_branch_is_told_from_one_that_is_not_known_yet() -> None:
    """Only an answer without the ref makes it absent."""
    server = Server()
    async with running(server) as source:
        before = source.head(PLACE, "nowhere")

        async def is_absent() -> bool:
            return source.head(PLACE, "nowhere").absent

        await until(is_absent, "the ref is absent")

    assert before == builds.Head()


async def test_repository_whose_server_tells_of_pushes_is_asked_seldom() -> None:
    """Until a push comes to light that nobody told of."""
    server = Server()
    async with running(server, poll_seconds=0.01) as source:
        await known(source, "main")
        server.refs["main"] = LATER

        async def has_moved() -> bool:
            return source.head(PLACE, "main", pushed="2026-01-01").commit == LATER

        await until(has_moved, "the word was followed")
        asked = len(server.asked)
        assert source.head(PLACE, "main", pushed="2026-01-01") == builds.Head(LATER)
        await asyncio.sleep(0.6)  # more than two looks at what is due
        assert len(server.asked) == asked
        server.refs["main"] = COMMIT
        source._known[PLACE].due = 0.0

        async def is_polled() -> bool:
            return len(server.asked) > asked + 2

        await until(is_polled, "it is asked often again")


async def test_commit_of_an_order_is_told_from_one_of_a_push() -> None:
    """An order that finds nothing new does not name the push that comes after it."""
    server = Server()
    async with running(server, poll_seconds=0.05) as source:
        await known(source, "main")
        server.refs["main"] = LATER

        async def has_moved(commit: str, requested: str) -> bool:
            return source.head(PLACE, "main", requested=requested).commit == commit

        await until(lambda: has_moved(LATER, "2026-01-01"), "the order was followed")
        ordered = source.head(PLACE, "main", requested="2026-01-01").ordered
        server.refs["main"] = COMMIT
        await until(lambda: has_moved(COMMIT, "2026-01-01"), "the push was found")
        pushed = source.head(PLACE, "main", requested="2026-01-01").ordered

    assert (ordered, pushed) == (True, False)
