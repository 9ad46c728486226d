"""Files and locks of an instance."""

import stat
import threading
from pathlib import Path

import pytest

from bex_stack.embedded import disk


def test_file_is_written_once_and_privately(tmp_path: Path) -> None:
    """The same content again is no change; nobody else may read it."""
    file = tmp_path / "deep" / "key"

    written = [disk.ensure_file(file, "secret"), disk.ensure_file(file, "secret")]

    assert written == [True, False]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_lock_waits_for_its_holder(tmp_path: Path) -> None:
    """The second to ask goes on when the first is done."""
    lock, order = tmp_path / "lock", []

    def second() -> None:
        with disk.locked(lock):
            order.append("second")

    with disk.locked(lock):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.1)
        order.append("first")
    waiting.join(5)

    assert order == ["first", "second"]


def test_lock_that_is_never_given_up_is_named(tmp_path: Path) -> None:
    """The wait ends, and says which file is held."""
    lock = tmp_path / "lock"

    with (
        disk.locked(lock),
        pytest.raises(disk.LockTimeout, match=str(lock)),
        disk.locked(lock, timeout_seconds=0.05),
    ):
        pass
