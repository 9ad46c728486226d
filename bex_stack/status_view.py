"""What `bex status` shows: machines with their pods, apps, and the processes that keep them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import console as consoles
from rich import table

from bex_operator.kube import client as kube
from bex_operator.kube import errors as kube_errors
from bex_operator.kube import kinds
from bex_stack import app_table, image_room, picture, targets
from bex_stack.embedded import processes, supervision

UNSUPERVISED = (
    "[red]the supervisor does not run[/red]: nothing that ends is started again until `bex up`"
)


@dataclass(frozen=True, slots=True)
class Status:
    """A stack as it is now."""

    stack: str
    api: str
    """`ready`, or why the cluster does not answer."""
    machines: Sequence[picture.Machine]
    waiting: Sequence[picture.Pod]
    """Pods that no machine has taken."""
    apps: Sequence[app_table.Row]
    supervised: bool
    """Whether the supervisor runs: what it kept lives on without it, and is not restarted."""
    processes: Sequence[processes.State]
    registry: image_room.Room | None
    """How much room the registry has; None if it does not answer."""

    def as_dict(self) -> dict[str, Any]:
        """Return the status as plain JSON."""
        return asdict(self)


async def observe(target: targets.Target) -> Status:
    """Read a stack's cluster and its supervisor; neither has to be there."""
    supervised = supervision.is_running(target.instance)
    kept = supervision.states(target.instance)
    machines: Sequence[picture.Machine] = ()
    waiting: Sequence[picture.Pod] = ()
    answer = "not there"
    if target.instance.kubeconfig.exists():
        try:
            async with kube.Client.from_kubeconfig(target.instance.kubeconfig) as client:
                nodes = await client.list(kinds.NODE)
                pods = await client.list(kinds.POD)
            machines, waiting = picture.machines(nodes.items, pods.items)
            answer = "ready"
        except kube_errors.KubeError as failed:
            answer = str(failed)
    apps = await app_table.observe(target) if answer == "ready" else []
    return Status(
        target.stack,
        answer,
        machines,
        waiting,
        apps,
        supervised,
        list(kept.values()),
        await image_room.observe(target),
    )


def render(status: Status) -> consoles.Group:
    """Lay out what was observed for a terminal."""
    drawn = table.Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("PROCESS", "STATE", "PID", "UP"):
        drawn.add_column(heading, no_wrap=True)
    for process in status.processes:
        colour = "green" if process.state == "RUNNING" else "red"
        drawn.add_row(
            process.name,
            f"[{colour}]{process.state}[/{colour}]",
            str(process.pid or "-"),
            f"{process.uptime_seconds} s",
        )
    return consoles.Group(
        f"stack {status.stack}, API server {status.api}",
        picture.draw(status.machines, status.waiting),
        app_table.render(list(status.apps)),
        "",
        drawn if status.supervised else UNSUPERVISED,
        "",
        f"registry: {image_room.tell(status.registry) if status.registry else 'does not answer'}",
    )
