"""What lies mounted where, read as proc(5) writes it."""

from pathlib import Path

from bex_stack.embedded import cgroups, mounts

MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:27 / /srv/my\\040disk rw,nosuid - tmpfs tmpfs rw
31 22 0:28 / /srv/x rw - overlay overlay rw,lowerdir=/a
"""


def test_mount_points_with_blanks_are_read() -> None:
    """A blank in a mount point is written as an octal code."""
    found = mounts.parse(MOUNTINFO)

    assert found[1] == (Path("/srv/my disk"), "tmpfs")


def test_optional_fields_do_not_move_the_type() -> None:
    """The type stands after the dash, however many optional fields come before it."""
    assert [kind for _, kind in mounts.parse(MOUNTINFO)] == ["ext4", "tmpfs", "overlay"]


def test_proc_lies_on_proc() -> None:
    """The innermost mount of a path tells its file system."""
    assert mounts.file_system(Path("/proc/self")) == "proc"


def test_this_hosts_control_groups_are_found() -> None:
    """Every hierarchy of the host is found once."""
    found = cgroups.hierarchies()

    assert found
    assert len({path.stat().st_dev for path in found}) == len(found)
