"""Control groups of machines on this host's hierarchies."""

from pathlib import Path

from bex_stack.embedded import cgroups

KUBELET_WANTS = {"cpu", "cpuset", "memory", "pids", "hugetlb"}
"""kubelet 1.37, pkg/kubelet/cm/cgroup_v2_manager_linux.go, getSupportedUnifiedControllers."""


def unified() -> list[Path]:
    """Mount points of version 2: the only one, or a small one beside those of version 1."""
    return [root for root in cgroups.hierarchies() if (root / "cgroup.subtree_control").exists()]


def controllers(group: Path) -> set[str]:
    """Controllers that a group of version 2 can use."""
    return set((group / "cgroup.controllers").read_text().split())


def test_a_machines_group_has_what_the_kubelet_wants() -> None:
    """In version 2 it asks its own group for every controller that the root has."""
    cgroups.ensure("/cgtest/worker-1")
    try:
        lacking = {
            str(root): (controllers(root) & KUBELET_WANTS) - controllers(root / "cgtest/worker-1")
            for root in unified()
        }
    finally:
        cgroups.remove("/cgtest/worker-1")

    assert not any(lacking.values()), lacking
    assert cgroups.leftovers("/cgtest") == []
