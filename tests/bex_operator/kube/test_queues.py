"""The work queue: each key once, failures later, new work first."""

import asyncio

import pytest

from bex_operator.kube import queues


def make_queue() -> queues.Queue[str]:
    """A queue whose back-off has no jitter."""
    return queues.Queue(jitter=lambda: 0.5)


async def take(queue: queues.Queue[str], count: int) -> list[str]:
    """Take and finish keys."""
    taken = []
    for _ in range(count):
        key = await asyncio.wait_for(queue.get(), 30)
        queue.done(key)
        taken.append(key)
    return taken


async def test_key_waits_once_however_often_it_is_added() -> None:
    """Ten changes of one object are one piece of work."""
    queue = make_queue()
    for _ in range(10):
        queue.add("a")
    queue.add("b")

    assert await take(queue, 2) == ["a", "b"]
    assert queue.idle


async def test_key_being_worked_on_comes_again_only_after() -> None:
    """Two workers never have one key, and no change is lost."""
    queue = make_queue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert len(queue) == 0

    queue.done(key)

    assert await take(queue, 1) == ["a"]


async def test_new_work_goes_before_a_backlog_but_does_not_starve_it() -> None:
    """Every eighth turn is the backlog's."""
    queue = make_queue()
    for number in range(3):
        queue.add(f"old{number}", fresh=False)
    for number in range(20):
        queue.add(f"new{number}")

    order = await take(queue, 23)

    assert order[:7] == [f"new{number}" for number in range(7)]
    assert order[7] == "old0"
    assert order[15] == "old1"


async def test_key_of_the_backlog_that_changes_moves_forward() -> None:
    """And is worked on once."""
    queue = make_queue()
    queue.add("a", fresh=False)
    queue.add("b", fresh=False)
    queue.add("b")

    assert await take(queue, 2) == ["b", "a"]
    assert queue.idle


async def test_failures_back_off_per_key_up_to_a_cap() -> None:
    """Twice as long each time; success forgets it."""
    queue, delays = make_queue(), []
    for _ in range(14):
        queue.add("a")
        delays.append(queue.failed(await queue.get()))
    queue.add("a")
    queue.done(await queue.get())
    queue.add("a")

    assert delays[:4] == [0.05, 0.1, 0.2, 0.4]
    assert delays[-1] == queues.MAX_BACKOFF_SECONDS
    assert queue.failed(await queue.get()) == 0.05


async def test_change_brings_a_delayed_try_forward() -> None:
    """Whoever mends the object does not wait for the back-off."""
    queue = make_queue()
    queue.add("a")
    queue.failed(await queue.get(), at_least_seconds=50)

    queue.add("a")

    assert await take(queue, 1) == ["a"]


async def test_failed_key_comes_back_by_itself() -> None:
    """After its time."""
    queue = make_queue()
    queue.add("a")
    queue.failed(await queue.get())

    assert await take(queue, 1) == ["a"]


async def test_of_two_times_the_earlier_counts() -> None:
    """A later request does not push a look away."""
    queue = make_queue()
    queue.add_after("a", 0.02)
    queue.add_after("a", 60)

    assert await take(queue, 1) == ["a"]


async def test_cancelled_waiter_passes_its_turn_on() -> None:
    """A key given to a worker that ends is not lost."""
    queue = make_queue()
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()

    assert await asyncio.wait_for(second, 30) == "a"


async def test_closed_queue_sends_everyone_home() -> None:
    """Those who wait and those who come later."""
    queue = make_queue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.close()

    with pytest.raises(queues.Closed):
        await asyncio.wait_for(waiting, 30)
    queue.add("a")
    with pytest.raises(queues.Closed):
        await queue.get()
