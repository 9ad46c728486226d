"""Kernel settings that instances need and the whole host shares.

The first instance notes what they were, the last one sets them back. A setting is only ever raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bex_stack.embedded import disk
from bex_stack.embedded import instance as instances

SHARED_DIR = Path("/run/bex")
"""Gone after a reboot, as the settings' values are."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One number below /proc/sys, and what it has to be at least."""

    path: Path
    least: int

    @property
    def value(self) -> int:
        """What it is now."""
        return int(self.path.read_text())


SWITCHES = (
    Switch(Path("/proc/sys/net/ipv4/ip_forward"), 1),
    # A machine takes nine; a desktop may use most of the default of 128, and a kubelet that gets
    # none ends with "too many open files".
    Switch(Path("/proc/sys/fs/inotify/max_user_instances"), 1024),
)


def ensure(
    instance: instances.Instance,
    *,
    switches: tuple[Switch, ...] = SWITCHES,
    shared: Path = SHARED_DIR,
) -> None:
    """Raise every switch that is too low, on behalf of *instance*."""
    with disk.locked(shared / "lock"):
        users = disk.ensure_dir(shared / "users")
        if not any(users.iterdir()):
            for switch in switches:
                disk.ensure_file(shared / "earlier" / switch.path.name, f"{switch.value}\n")
        disk.ensure_file(users / instance.name, f"{instance.dir}\n")
        for switch in switches:
            if switch.value < switch.least:
                switch.path.write_text(str(switch.least))


def are_on(*, switches: tuple[Switch, ...] = SWITCHES) -> bool:
    """Whether no switch is too low."""
    return all(switch.value >= switch.least for switch in switches)


def release(
    instance: instances.Instance,
    *,
    switches: tuple[Switch, ...] = SWITCHES,
    shared: Path = SHARED_DIR,
) -> None:
    """Give up *instance*'s claim; the last one sets every switch back."""
    if not shared.exists():
        return
    users, earlier = shared / "users", shared / "earlier"
    with disk.locked(shared / "lock"):
        (users / instance.name).unlink(missing_ok=True)
        if users.exists() and any(users.iterdir()):
            return
        for switch in switches:
            value = disk.read(earlier / switch.path.name)
            if value is not None:
                switch.path.write_bytes(value)
                (earlier / switch.path.name).unlink()
        for path in (users, earlier):
            if path.exists():
                path.rmdir()
        (shared / "lock").unlink()
        shared.rmdir()
