"""Working through a queue of keys."""

import asyncio

from bex_operator.controllers import metrics, work
from bex_operator.kube import queues


async def test_backlog_leaves_turns_to_others() -> None:
    """Keys with nothing to do do not hold up what else there is, be it thousands of them."""
    seen: list[str] = []
    complete = asyncio.Event()

    async def reconcile(key: work.Key) -> None:
        seen.append(key[1])
        if len(seen) == 101:
            complete.set()

    line = work.Line(reconcile, queues.Queue(), metrics.Metrics())
    for number in range(100):
        line.queue.add(("apps", f"old-{number}"), fresh=False)
    working = asyncio.create_task(line.work())
    await asyncio.sleep(0)
    line.queue.add(("apps", "new"))
    await complete.wait()
    line.queue.close()
    await working

    assert seen.index("new") < 10
