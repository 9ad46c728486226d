"""What a pre-flight found, as text for people: findings, counts, and the table of costs. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bex_stack.hetzner import costs, draining, leaks, preflight


@dataclass(frozen=True, slots=True)
class Report:
    """One pre-flight."""

    findings: Sequence[preflight.Finding]
    costs: costs.Costs
    counts: Mapping[str, Mapping[str, int]]

    @property
    def blocking(self) -> list[preflight.Finding]:
        """What must be mended before an `up`."""
        return [each for each in self.findings if each.blocks]

    def as_dict(self) -> dict[str, Any]:
        """Say it to programs."""
        return {
            "findings": [each.as_dict() for each in self.findings],
            "costs": self.costs.as_dict(),
            "counts": {kind: dict(each) for kind, each in self.counts.items()},
        }


def table_of_costs(found: costs.Costs) -> str:
    """Write the table: per row what, type, place, number, and what that costs a month."""
    lines = [_row(("a month", "type", "where", "how many", f"net {found.currency}", "gross"))]
    for row in found.rows:
        price = row.each
        amounts = [_span(row.least, row.most)]
        if price is None:
            amounts += ["?", "?"]
        else:
            low, high = costs.amounts(price.times(row.least)), costs.amounts(price.times(row.most))
            amounts += [_span(low[key], high[key]) for key in ("net", "gross")]
        lines.append(_row((row.what, row.type, row.location, *amounts)))
    low, high = costs.amounts(found.least), costs.amounts(found.most)
    sums = (_span(low["net"], high["net"]), _span(low["gross"], high["gross"]))
    lines.append(_row(("all", "", "", "", *sums)))
    lines.append(f"VAT {found.vat_rate.normalize():f} %; {costs.NOT_COUNTED}")
    return "\n".join(lines)


def table_of_things(rows: Iterable[costs.Row]) -> str:
    """Write what is paid for, without prices, as the table in docs/architecture.md."""
    lines = [
        "| paid for by the month | type | where | at least | at most |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {e.what} | {e.type} | {e.location} | {e.least} | {e.most} |" for e in rows]
    return "\n".join(lines)


def table_of_counts(counted: Mapping[str, Mapping[str, int]]) -> str:
    """Write what is there and what may come; a project's limits are in its console only."""
    lines = [f"{'in the project':20}{'there':>7}{'ours':>6}{'most':>6}"]
    for kind, each in counted.items():
        name = kind.replace("_", " ")
        lines.append(f"{name:20}{each['there']:>7}{each['ours']:>6}{each['most']:>6}")
    lines.append("Hetzner's API does not tell a project's limits: compare with its console")
    return "\n".join(lines)


def list_findings(findings: Sequence[preflight.Finding]) -> str:
    """Write every finding, what blocks first."""
    ordered = sorted(findings, key=lambda each: not each.blocks)
    return "\n".join(f"{'' if each.blocks else '(goes on) '}{each}" for each in ordered)


def list_leftovers(found: Sequence[leaks.Leftover]) -> str:
    """Write every leftover with why it is one and what removes it."""
    lines = []
    for each in found:
        sure = "" if each.is_certain else " (perhaps of another cluster of this project)"
        lines.append(f"{each.thing}: {each.because}{sure}\n    {each.command}")
    return "\n".join(lines)


def list_steps(steps: Sequence[draining.Step]) -> str:
    """Write a plan: what, by whom, and what is waited for."""
    return "\n".join(line for number, step in enumerate(steps, 1) for line in _step(number, step))


def _step(number: int, step: draining.Step) -> Iterator[str]:
    names = ", ".join("/".join(part for part in each if part) for each in step.what)
    yield f"{number}. {step.name}{': ' if names else ''}{names}"
    limit = f"at most {step.timeout_seconds} s for {step.waits_for}"
    yield f"    by bex, waits {limit}" if step.is_ours else f"    you run: {step.command}"


def _row(cells: Sequence[str]) -> str:
    widths = (34, 8, 8, 10, 18, 18)
    first, *rest = zip(cells, widths, strict=True)
    return f"{first[0]:{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in rest)


def _span(low: object, high: object) -> str:
    return f"{low}" if low == high else f"{low}-{high}"
