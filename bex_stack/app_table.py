"""The table of apps that ends every `up`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich import console as consoles
from rich import markup, table

from bex_operator import api
from bex_operator.kube import client as kube
from bex_operator.kube import errors as kube_errors
from bex_operator.kube import kinds
from bex_stack import targets

COLOURS = {"Running": "green", "Failed": "red", "Hibernated": "dim"}


@dataclass(frozen=True, slots=True)
class Row:
    """One App as the cluster reports it."""

    name: str
    phase: str
    revision: str
    ready: str
    """Ready replicas of wanted ones, as in `2/2`."""
    url: str
    message: str
    """What is in the way; empty while the App is Running."""

    def as_dict(self) -> dict[str, str]:
        """Return the row as plain JSON."""
        return asdict(self)


async def observe(target: targets.Target) -> list[Row]:
    """Read the stack's apps from its cluster; none when the cluster is not there."""
    if not target.kubeconfig.exists():
        return []
    async with kube.Client.from_kubeconfig(target.kubeconfig) as client:
        try:
            found = await client.list(kinds.APP, api.NAMESPACE)
        except (kube_errors.NotFound, kube_errors.Unreachable):
            return []
    return [row(item) for item in found.items]


def row(app: Mapping[str, Any]) -> Row:
    """Turn an App object into a row."""
    status = app.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    ready = conditions.get("Ready", {})
    autoscaled = app["spec"].get("autoscaling") is not None
    wanted = status.get("replicas", 0) if autoscaled else app["spec"].get("replicas", 1)
    return Row(
        name=app["metadata"]["name"],
        phase=status.get("phase", "Pending"),
        revision=status.get("activeRevision", "-"),
        ready=f"{status.get('readyReplicas', 0)}/{wanted}",
        url=status.get("url", "-"),
        message="" if ready.get("status") == "True" else ready.get("message", ""),
    )


def render(rows: list[Row]) -> consoles.Group:
    """Lay the rows out as a table without lines, so that scripts can cut it too.

    What is in an app's way stands above the table: it may have several lines.
    """
    drawn = table.Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("APP", "PHASE", "REVISION", "READY", "URL"):
        drawn.add_column(heading, no_wrap=True)
    for each in rows:
        colour = COLOURS.get(each.phase, "yellow")
        phase = f"[{colour}]{each.phase}[/{colour}]"
        drawn.add_row(each.name, phase, each.revision, each.ready, each.url)
    troubles = [f"{each.name}: {markup.escape(each.message)}" for each in rows if each.message]
    return consoles.Group(*troubles, drawn)
