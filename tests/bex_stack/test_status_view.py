"""What `bex status` prints."""

import dataclasses
import io

from rich import console as consoles

from bex_stack import image_room, status_view
from bex_stack.embedded import processes

RUNNING = status_view.Status(
    stack="embedded",
    api="ready",
    machines=(),
    waiting=(),
    apps=(),
    supervised=True,
    processes=(processes.State("etcd", "RUNNING", 7, 90, "pid 7, uptime 0:01:30"),),
    registry=image_room.Room(used=3 << 30, free=40 << 30, capacity=100 << 30),
)


def printed(status: status_view.Status) -> str:
    """Render it on a wide terminal without colours."""
    out = io.StringIO()
    consoles.Console(file=out, width=200).print(status_view.render(status))
    return out.getvalue()


def test_processes_are_listed() -> None:
    """Each with its state, its number and how long it has been up."""
    process = printed(RUNNING).splitlines()[-3].split()

    assert process == ["etcd", "RUNNING", "7", "90", "s"]


def test_a_missing_supervisor_is_said() -> None:
    """What it kept runs on without it, so nothing else would show."""
    alone = dataclasses.replace(RUNNING, supervised=False, processes=())

    assert "nothing that ends is started again until `bex up`" in printed(alone)


def test_room_of_the_registry_is_said() -> None:
    """What images take, and what the disk has left for more."""
    silent = dataclasses.replace(RUNNING, registry=None)

    assert "registry: images take 3.0 GiB, 40.0 GiB of 100.0 GiB are free" in printed(RUNNING)
    assert "registry: does not answer" in printed(silent)
