"""What `bex status` prints."""

import dataclasses
import io

from rich import console as consoles

from bex_stack import status_view
from bex_stack.embedded import processes

RUNNING = status_view.Status(
    stack="embedded",
    api="ready",
    machines=(),
    waiting=(),
    apps=(),
    supervised=True,
    processes=(processes.State("etcd", "RUNNING", 7, 90, "pid 7, uptime 0:01:30"),),
)


def printed(status: status_view.Status) -> str:
    """Render it on a wide terminal without colours."""
    out = io.StringIO()
    consoles.Console(file=out, width=200).print(status_view.render(status))
    return out.getvalue()


def test_processes_are_listed() -> None:
    """Each with its state, its number and how long it has been up."""
    last = printed(RUNNING).splitlines()[-1].split()

    assert last == ["etcd", "RUNNING", "7", "90", "s"]


def test_a_missing_supervisor_is_said() -> None:
    """What it kept runs on without it, so nothing else would show."""
    alone = dataclasses.replace(RUNNING, supervised=False, processes=())

    assert "nothing that ends is started again until `bex up`" in printed(alone)
