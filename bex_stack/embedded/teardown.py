"""Removing an instance: everything it ever made on the host, from whatever state it is in.

Works by the instance's name and folder alone, so it also clears what an interrupted command left,
or what is left when the record of it is lost.
"""

from __future__ import annotations

import contextlib
import shutil

from bex_stack.embedded import (
    cgroups,
    firewall,
    host_switches,
    mounts,
    network,
    orphans,
    processes,
    supervision,
)
from bex_stack.embedded import instance as instances


def destroy(instance: instances.Instance) -> None:
    """End the instance's processes and remove its links, rules, groups, mounts and files.

    Raises: orphans.NotEnded, network.NetworkError, firewall.FirewallError, cgroups.CgroupError.
    """
    supervision.shut_down(instance)
    if instance.kind == "real":
        network.remove_all(instance)
        firewall.remove(instance)
        host_switches.release(instance)
        cgroups.remove(f"/{instance.name}")
        mounts.unmount_below(instance.dir)
    if instance.dir.exists():
        shutil.rmtree(instance.dir)
    with contextlib.suppress(OSError):  # other instances' data lie there
        instance.dir.parent.rmdir()


def destroy_if_unused(instance: instances.Instance) -> bool:
    """Destroy the instance once nothing is kept running in it any more; tell whether it was."""
    programs = processes.programs_dir(instance)
    if any(programs.glob("*.conf")) or any((instance.dir / "machines").glob("*")):
        return False
    destroy(instance)
    return True


def leftovers(instance: instances.Instance) -> list[str]:
    """What of the instance exists on the host, for people: nothing after `destroy`."""
    found = [f"process {pid}" for pid in orphans.find(instance.name)]
    if instance.kind == "real":
        found += [f"link or namespace {name}" for name in network.leftovers(instance)]
        found += [f"control group {path}" for path in cgroups.leftovers(f"/{instance.name}")]
        found += [f"mount {path}" for path in mounts.below(instance.dir)]
        found += [f"nftables table {instance.table}"] if firewall.exists(instance) else []
    return found + ([f"folder {instance.dir}"] if instance.dir.exists() else [])
