"""Control groups of machines, in both hierarchies of Linux: one tree (v2) or one per controller."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "hugetlb", "io")
"""The kubelet refuses a group that lacks one of the first five while the kernel has it."""
_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
_EMPTY_SECONDS = 60.0


class CgroupError(RuntimeError):
    """A control group could not be emptied or removed."""


def hierarchies(mounts: Path = Path("/proc/self/mounts")) -> list[Path]:
    """Mount points of all hierarchies; links of the same one (`cpu` to `cpu,cpuacct`) once."""
    found = {}
    for line in mounts.read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2") and Path(target).is_relative_to(ROOT):
            path = Path(target).resolve()
            found[path.stat().st_dev] = path
    return sorted(found.values())


def ensure(group: str) -> None:
    """Make *group* (absolute, `/instance/machine`) in every hierarchy, ready for a kubelet."""
    parts = Path(group.lstrip("/"))
    for root in hierarchies():
        for path in [*(root / parent for parent in reversed(parts.parents)), root / parts]:
            path.mkdir(exist_ok=True)
            if (path / "cgroup.subtree_control").exists():
                _enable_controllers(path)
            elif path != root:
                _copy_cpuset(path)


def remove(group: str) -> None:
    """End what runs in *group* and below, and remove it from every hierarchy.

    Raises: CgroupError.
    """
    for root in hierarchies():
        path = root / group.lstrip("/")
        if path.is_dir():
            _empty(path)
            _remove_tree(path)
            with contextlib.suppress(OSError):  # other machines' groups are still in it
                if path.parent != root:
                    path.parent.rmdir()


def leftovers(group: str) -> list[Path]:
    """Folders of *group* that exist."""
    paths = [root / group.lstrip("/") for root in hierarchies()]
    return [path for path in paths if path.exists()]


def _enable_controllers(path: Path) -> None:
    available = (path / "cgroup.controllers").read_text().split()
    enabled = (path / "cgroup.subtree_control").read_text().split()
    for controller in _CONTROLLERS:
        if controller not in available or controller in enabled:
            continue
        try:
            (path / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError as exc:
            raise CgroupError(
                f"controller {controller!r} cannot be handed to groups below {path}: {exc} "
                "(inside a container, its processes must first move into a group of their own)"
            ) from exc


def _copy_cpuset(path: Path) -> None:
    """A new group of the v1 cpuset has no processor and takes no process until it is given some."""
    for name in _CPUSET_FILES:
        own = path / name
        if own.exists() and not own.read_text().strip():
            own.write_text((path.parent / name).read_text())


def _empty(path: Path) -> None:
    deadline = time.monotonic() + _EMPTY_SECONDS
    while pids := _members(path):
        if time.monotonic() > deadline:
            raise CgroupError(f"processes {pids} stay in control group {path}")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _members(path: Path) -> list[int]:
    pids: set[int] = set()
    for file in path.rglob("cgroup.procs"):
        with contextlib.suppress(OSError):  # removed meanwhile, or of a threaded group
            pids.update(int(line) for line in file.read_text().split())
    return sorted(pids - {0})  # 0 = a process of a namespace that cannot be seen from here


def _remove_tree(path: Path) -> None:
    """Groups are removed one by one, the deepest first; their files go with them."""
    folders = [Path(folder) for folder, _, _ in os.walk(path, topdown=False)]
    for folder in folders:
        deadline = time.monotonic() + _EMPTY_SECONDS
        while folder.exists():
            try:
                folder.rmdir()
            except OSError as exc:
                if time.monotonic() > deadline:
                    raise CgroupError(f"control group {folder} cannot be removed: {exc}") from exc
                time.sleep(0.05)
