"""How much room the registry of a stack has, and what may go from it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bex_operator.controllers import registry_care
from bex_operator.registry import care
from bex_operator.registry import errors as registry_errors
from bex_stack import app_access, errors, targets
from bex_stack.embedded import registry

_SCARCE = 0.1
"""Share of a disk below which its room is shown in red."""


@dataclass(frozen=True, slots=True)
class Room:
    """How full the registry's disk is, in bytes."""

    used: int
    """By images."""
    free: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What went, or would have."""

    dry_run: bool
    images: Sequence[str]
    """Manifests, as REPOSITORY@DIGEST."""
    blobs: int
    freed: int
    """Bytes."""
    room: Room

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


async def observe(target: targets.Target) -> Room | None:
    """Ask the registry; None if it does not answer."""
    try:
        return _room(await _care(target).usage())
    except registry_errors.RegistryError:
        return None


async def collect(target: targets.Target, *, dry_run: bool) -> Collected:
    """Let go what nobody can need.

    Raises:
        errors.StackError: the registry does not answer.
    """
    async with app_access.client(target) as cluster:
        try:
            done = await registry_care.collect(cluster, _care(target), dry_run=dry_run)
        except registry_errors.RegistryError as exc:
            raise errors.StackError(f"nothing was collected: {exc}") from exc
    report = done.report
    images = [f"{each.repository}@{each.digest}" for each in done.going]
    return Collected(dry_run, images, report.blobs, report.freed, _room(report.usage))


def render(found: Collected) -> str:
    """Say it in words."""
    would = "would go" if found.dry_run else "went"
    lines = [*found.images, f"{len(found.images)} images and {found.blobs} blobs {would}"]
    freed = "would be" if found.dry_run else "are"
    return "\n".join([*lines, f"{size(found.freed)} {freed} free again; {tell(found.room)}"])


def tell(room: Room) -> str:
    """Say how much room there is."""
    said = f"images take {size(room.used)}, {size(room.free)} of {size(room.capacity)} are free"
    return f"[red]{said}[/red]" if room.free < _SCARCE * room.capacity else said


def size(count: int) -> str:
    """Write a number of bytes as people read it."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _care(target: targets.Target) -> care.Care:
    return care.Care(f"http://{registry.endpoint(target.instance)}")


def _room(usage: care.Usage) -> Room:
    return Room(usage.used, usage.free, usage.capacity)
