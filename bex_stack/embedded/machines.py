"""Deeds of machines: made, observed, removed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from bex_stack.embedded import (
    cgroups,
    cluster,
    disk,
    identities,
    machine_config,
    machine_processes,
    mounts,
    network,
    orphans,
    processes,
    readiness,
    supervision,
)
from bex_stack.embedded import instance as instances

READY_SECONDS = 120.0
_END_SECONDS = 60.0
_FOLDERS = ("run", "root", "containerd", "kubelet", "pod-logs")


def ensure(
    instance: instances.Instance,
    machine: machine_config.Machine,
    programs: Mapping[str, Path],
) -> None:
    """Let *machine* run and its node be Ready; *programs* are its binaries by name.

    Needs the host's share (`host.ensure`), and somebody who starts the control plane meanwhile.

    Raises: readiness.NotReady, network.NetworkError, supervision.SupervisionError.
    """
    folder = disk.ensure_dir(instance.machine_dir(machine.name))
    for name in _FOLDERS:
        disk.ensure_dir(folder / name)
    (folder / "kubelet").chmod(0o755)  # pods of other users pass through it
    cgroups.ensure(instance.cgroup(machine.name))
    network.ensure_machine(instance, machine.name, machine.slot)
    identities.ensure_machine(instance, machine.name, machine.slot)
    _ensure_files(instance, machine)
    wanted = _processes(instance, machine, programs)
    if not cluster.answers(instance):
        supervision.ensure(instance, wanted[:2])  # the machine and its containerd
        cluster.wait_until_answering(instance)
    supervision.ensure(instance, wanted)
    wait_ready(instance, machine.name)
    from bex_stack.embedded import nodes  # as below: its client is slow to import

    asyncio.run(nodes.label(instance, machine.name, machine.labels))


def wait_ready(instance: instances.Instance, machine: str) -> None:
    """Wait until the node of *machine* is Ready.

    Raises: readiness.NotReady.
    """
    from bex_stack.embedded import nodes

    if not asyncio.run(nodes.becomes_ready(instance, machine, seconds=READY_SECONDS)):
        raise readiness.not_ready(
            f"node {machine!r}", READY_SECONDS, instance, f"{machine}-kubelet"
        )


def is_settled(
    instance: instances.Instance,
    machine: machine_config.Machine,
    programs: Mapping[str, Path],
) -> bool:
    """Whether `ensure` would change nothing and the node is Ready."""
    return not unsettled(instance, machine, programs)


def unsettled(
    instance: instances.Instance,
    machine: machine_config.Machine,
    programs: Mapping[str, Path],
) -> list[str]:
    """What `ensure` would mend, in words."""
    folder = instance.machine_dir(machine.name)
    if not folder.exists():
        return ["the machine does not exist on this host"]
    wanted = _processes(instance, machine, programs)
    found = supervision.unsettled(instance, wanted)
    if _outdated(instance, machine):
        found.append("its configuration files are outdated")
    if not identities.is_current(folder / "kubernetes"):
        found.append("its certificates have to be renewed")
    if not network.has_machine(instance, machine.name, machine.slot):
        found.append("its network is gone")
    if not found and not is_node_ready(instance, machine.name):
        found.append("its node is not Ready")
    return found


def is_node_ready(instance: instances.Instance, machine: str) -> bool:
    """Whether the API server says so; an API server that does not answer says no."""
    from bex_stack.embedded import nodes

    return asyncio.run(nodes.is_ready_now(instance, machine))


def remove(instance: instances.Instance, machine: machine_config.Machine) -> None:
    """Stop *machine* and remove everything it had on the host; its node is not touched."""
    with _ended(instance, machine.name):
        supervision.remove(instance, reversed(machine_processes.names(machine.name)))
    network.remove_machine(instance, machine.name, machine.slot)
    cgroups.remove(instance.cgroup(machine.name))
    folder = instance.machine_dir(machine.name)
    mounts.unmount_below(folder)
    if folder.exists():
        shutil.rmtree(folder)


def init_pid(instance: instances.Instance, machine: str) -> int | None:
    """Id on the host of the first process of *machine*, as it last wrote it down."""
    text = disk.read(instance.machine_dir(machine) / "run" / "init.pid")
    return int(text) if text and text.strip().isdigit() else None


@contextlib.contextmanager
def _ended(instance: instances.Instance, machine: str) -> Iterator[None]:
    """Wait at the end until the machine's first process is gone, and with it all others.

    The kernel ends a first process last: after it nothing holds a file of the machine open.
    """
    pid = init_pid(instance, machine)
    try:
        handle = os.pidfd_open(pid) if pid else None
    except ProcessLookupError:
        handle = None
    yield
    if handle is None:
        return
    try:
        gone, _, _ = select.select([handle], [], [], _END_SECONDS)
    finally:
        os.close(handle)
    if not gone:
        raise orphans.NotEnded(
            f"process {pid}, the first of machine {machine!r}, runs on for {_END_SECONDS:.0f} s"
        )


def _ensure_files(instance: instances.Instance, machine: machine_config.Machine) -> None:
    folder = instance.machine_dir(machine.name)
    for path, content in _files(instance, machine).items():
        disk.ensure_file(path, content)
    if not disk.read(folder / "etc" / "machine-id"):
        disk.ensure_file(folder / "etc" / "machine-id", f"{uuid.uuid4().hex}\n")


def _processes(
    instance: instances.Instance,
    machine: machine_config.Machine,
    programs: Mapping[str, Path],
) -> list[processes.Process]:
    netns_id = network.netns_id(instance, machine.name)
    return machine_processes.render(instance, machine, programs, netns_id=netns_id)


def _files(instance: instances.Instance, machine: machine_config.Machine) -> dict[Path, str]:
    folder = instance.machine_dir(machine.name)
    rendered = machine_config.render(instance, machine, snapshotter=_snapshotter(folder))
    return {folder / name: content for name, content in rendered.items()}


def _outdated(instance: instances.Instance, machine: machine_config.Machine) -> list[Path]:
    files = _files(instance, machine)
    return [path for path, content in files.items() if disk.read(path) != content.encode()]


def _snapshotter(folder: Path) -> str:
    """Overlay file systems do not stack: on one (a container's disk) images are copied."""
    return "native" if mounts.file_system(folder) == "overlay" else "overlayfs"
