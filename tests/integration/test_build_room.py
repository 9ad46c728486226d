"""The step that makes room among what a machine keeps of builds."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from tests.support.build_steps import Step, program, run

__all__ = ["program"]
DAY = 24 * 3600
MINE = "mine"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """What a machine keeps of three Apps, built days ago."""
    folder = tmp_path / "builds"
    for name, days in (("oldest", 8), ("older", 3), ("recent", 1)):
        (folder / name / "state" / "rest").mkdir(parents=True)
        (folder / name / "state" / "lock").touch()
        (folder / name / "used").touch()
        then = time.time() - days * DAY
        os.utime(folder / name / "used", (then, then))
    return folder


def age(path: Path) -> None:
    """Let it be two days old."""
    then = time.time() - 2 * DAY
    os.utime(path, (then, then), follow_symlinks=False)


def make_room(program: Path, kept: Path, **more: object) -> tuple[Step, list[str]]:
    """Run the step; return what it says, and the Apps of which something is kept."""
    step = run(program, kept.parent, "room", builds=kept, app=MINE, **more)
    assert step.code == 0, step.output
    return step, sorted(each.name for each in kept.iterdir())


def test_what_is_long_unused_goes(program: Path, kept: Path) -> None:
    """A week; the build's own App counts as used now, and nobody else may look."""
    step, left = make_room(program, kept, least_free=0)

    assert left == [MINE, "older", "recent"]
    assert step.output.count("removed") == 1
    assert time.time() - (kept / MINE / "used").stat().st_mtime < DAY
    assert kept.stat().st_mode & 0o777 == 0o700


def test_full_disk_takes_all_that_is_not_in_use(program: Path, kept: Path) -> None:
    """But the build's own, and those of builds that run."""
    make_room(program, kept, least_free=0)
    with (kept / "recent/state/lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _, left = make_room(program, kept, least_free=1)
    _, later = make_room(program, kept, least_free=1)

    assert left == [MINE, "recent"]
    assert later == [MINE]


def test_build_that_is_about_to_begin_loses_nothing(program: Path, kept: Path) -> None:
    """Its room was made, or only its folder; that it runs is not to be seen yet."""
    (kept / "recent" / "used").touch()
    (kept / "first" / "state").mkdir(parents=True)
    _, left = make_room(program, kept, least_free=1)

    assert left == ["first", MINE, "recent"]


def test_what_a_tenant_left_there_leads_nowhere(program: Path, kept: Path, tmp_path: Path) -> None:
    """No link is followed, no pipe waited for; and a lock that is none protects nothing."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").touch()
    for name in ("linked", "piped", "folder"):
        state = kept / name / "state"
        state.mkdir(parents=True)
        age(kept / name)
        (state / "away").symlink_to(secret)
    (kept / "linked/state/lock").symlink_to(secret / "file")
    os.mkfifo(kept / "piped/state/lock")
    (kept / "folder/state/lock").mkdir()
    (kept / "odd").symlink_to(secret)
    age(kept / "odd")
    _, left = make_room(program, kept, least_free=1)

    assert left == [MINE]
    assert (secret / "file").exists()
