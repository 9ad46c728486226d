"""Logs of the stack's processes."""

from pathlib import Path

import pytest

from bex_stack import errors, log_files


def test_last_lines_are_read(tmp_path: Path) -> None:
    """Only as many lines as asked for, the newest ones."""
    (tmp_path / "etcd.log").write_text("one\ntwo\nthree\n")

    found = list(log_files.read(tmp_path, "etcd", lines=2, follow=False))

    assert found == ["two\n", "three\n"]


def test_unknown_component_names_those_with_a_log(tmp_path: Path) -> None:
    """A slip shows what there is."""
    (tmp_path / "etcd.log").write_text("")

    with pytest.raises(errors.StackError, match="components: etcd"):
        list(log_files.read(tmp_path, "ectd", lines=2, follow=False))


def test_following_goes_on_with_a_rotated_file(tmp_path: Path) -> None:
    """When the file was rotated away, reading goes on at the start of the new one."""
    file = tmp_path / "etcd.log"
    file.write_text("a long first line\n")
    lines = log_files.read(tmp_path, "etcd", lines=1, follow=True)
    first = next(lines)

    with file.open("r+") as opened:
        opened.truncate(0)
        opened.write("new\n")

    assert (first, next(lines)) == ("a long first line\n", "new\n")
