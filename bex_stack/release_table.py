"""An app's releases, and the table of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import console as consoles
from rich import markup, table

from bex_operator import api
from bex_operator.api import names, records
from bex_operator.kube import client as kube
from bex_operator.kube import kinds
from bex_stack import app_access, errors, targets

SHORT_DIGEST = len("sha256:") + 12
COLOURS = {"serving": "green", "failed": "red", "on its way": "yellow"}


@dataclass(frozen=True, slots=True)
class Row:
    """One release."""

    revision: str
    image: str
    """As written."""
    digest: str
    """What the image's tag meant, cut short; `-` if the tag is used as it is."""
    when: str
    who: str
    """The person who asked for it, or the program that wrote the App; `-` if nobody knows."""
    why: str
    state: str
    """`serving`, `on its way`, `failed`, `served` (once) or `skipped` (never served)."""
    message: str
    """Why it failed."""

    def as_dict(self) -> dict[str, str]:
        """Return the row as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Releases:
    """An App object and its records, newest first."""

    app: Mapping[str, Any]
    kept: Sequence[tuple[records.Record, str]]
    """With the time of each."""

    @property
    def serving(self) -> str | None:
        """The revision that serves."""
        revision = self.app.get("status", {}).get("activeRevision")
        return str(revision) if revision else None

    def rows(self) -> list[Row]:
        """Lay each release out."""
        return [self._row(record, when) for record, when in self.kept]

    def target(self, revision: str | None) -> records.Record:
        """Return the release to go back to.

        Without *revision* it is the one that served before the newest, whether that serves or not.

        Raises:
            errors.StackError: there is none.
        """
        all_of_them = [record for record, _ in self.kept]
        served = {each.number for each in self._history() if each.served}
        if revision is not None:
            wanted = [each for each in all_of_them if each.revision == revision]
        else:
            wanted = [each for each in all_of_them[1:] if each.number in served]
        if wanted:
            return wanted[0]
        name, known = self.app["metadata"]["name"], ", ".join(each.revision for each in all_of_them)
        if revision is None:
            raise errors.StackError(f"App {name}: no earlier release that served is kept")
        raise errors.StackError(f"App {name}: {revision} is not kept; kept: {known or 'none'}")

    def _history(self) -> Sequence[Any]:
        found = self.app.get("status", {}).get("history") or []
        return [_Outcome(each["number"], each["served"], each.get("message", "")) for each in found]

    def _row(self, record: records.Record, when: str) -> Row:
        outcome = next((each for each in self._history() if each.number == record.number), None)
        newest = record.number == self.kept[0][0].number
        if record.revision == self.serving:
            state = "serving"
        elif outcome is not None:
            state = "served" if outcome.served else "failed"
        else:
            state = "on its way" if newest else "skipped"
        return Row(
            revision=record.revision,
            image=record.image,
            digest=(record.image_digest or "-")[:SHORT_DIGEST],
            when=when,
            who=record.who or "-",
            why=f"{record.why} ({record.origin})" if record.origin else record.why,
            state=state,
            message=outcome.message if outcome and not outcome.served else "",
        )


@dataclass(frozen=True, slots=True)
class _Outcome:
    number: int
    served: bool
    message: str


async def observe(target: targets.Target, name: str) -> Releases:
    """Read an app's releases from the stack's cluster."""
    async with app_access.client(target) as client:
        return await read(client, name)


async def read(client: kube.Client, name: str) -> Releases:
    """Read an app's releases through *client*."""
    app = await app_access.read(client, name)
    labels = f"{names.APP_UID_LABEL}={app['metadata']['uid']}"
    found = await client.list(kinds.CONTROLLER_REVISION, api.NAMESPACE, labels=labels)
    read = [
        (record, each["metadata"]["creationTimestamp"])
        for each in found.items
        if (record := records.Record.from_manifest(each)) is not None
    ]
    return Releases(app, sorted(read, key=lambda pair: -pair[0].number))


def render(rows: Sequence[Row]) -> consoles.Group:
    """Lay the rows out as a table without lines, so that scripts can cut it too.

    Why a release was given up stands above the table: it may be long.
    """
    headings = ("REVISION", "IMAGE", "DIGEST", "WHEN", "WHO", "STATE", "WHY")
    cells = [(r.revision, r.image, r.digest, r.when, r.who, r.state, r.why) for r in rows]
    longest = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    # As wide as it is: cut to a pipe's supposed 80 columns it would say nothing.
    drawn = table.Table(
        box=None, pad_edge=False, header_style="dim", width=sum(longest) + 2 * len(longest)
    )
    for heading in headings:
        drawn.add_column(heading, no_wrap=True)
    for *texts, state, why in cells:
        colour = COLOURS.get(state, "dim")
        drawn.add_row(*texts, f"[{colour}]{state}[/{colour}]", markup.escape(why))
    troubles = [markup.escape(each.message) for each in rows if each.message]
    return consoles.Group(*troubles, drawn)
