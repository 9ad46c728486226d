"""Runs that end early: killed, stopped by a person, or stopped by another run's lock."""

import json
import os
import signal
import socket
import time

import pytest

from bex_stack.engine import errors

SLOW = """
a = File("a", folder, "1")
b = File("b", folder, "2", ResourceOptions(depends_on=[a]), gate="go")
c = File("c", folder, "3", ResourceOptions(depends_on=[b]))
"""
QUICK = SLOW.replace('gate="go"', "slow=0")


def test_killed_run_is_finished_by_the_next(project):
    """After kill -9 in the middle of a create the next up says so and makes every file once."""
    project.write(SLOW)
    project.kill_when("b.txt")
    pending = [each["type"] for each in project.state["pending_operations"]]
    result = project.up(QUICK)

    assert pending == ["creating"]
    assert result.changes == {"same": 2, "create": 2}
    assert "earlier run was stopped while creating" in project.messages()
    assert sorted(project.files) == ["a.txt", "b.txt", "c.txt"]
    assert project.names == ["a", "b", "c"]
    assert "pending_operations" not in project.state


def test_run_killed_after_every_step_converges(project):
    """Killed again and again, each time one call of the provider later, the stack gets there."""
    project.up('File("a", folder, "0"); File("gone", folder, "0")')
    project.write("""
    a = File("a", folder, "1", slow=0.5)
    b = File("b", folder, "2", ResourceOptions(depends_on=[a]), slow=0.5)
    c = File("c", folder, "3", ResourceOptions(depends_on=[b]), slow=0.5)
    """)
    kills = 0
    while True:
        lines = len(project.journal) + kills
        process = project.spawn("up")
        while process.poll() is None and len(project.journal) <= lines:
            time.sleep(0.01)
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        kills += 1
    output, _ = process.communicate()

    assert process.returncode == 0, output
    assert kills >= 2
    assert project.files == {"a.txt": "1", "b.txt": "2", "c.txt": "3"}
    assert project.names == ["a", "b", "c"]
    assert project.up().changes == {"same": 4}


def test_lock_of_a_killed_run_is_taken_over(project):
    """A dead process holds no lock; whose it was is said."""
    project.write(SLOW)
    project.kill_when("b.txt")
    left = list((project.backend / ".pulumi" / "locks").rglob("*.json"))
    project.up(QUICK)

    assert len(left) == 1
    assert "took over the lock of pid" in project.messages()
    assert not list((project.backend / ".pulumi" / "locks").rglob("*.json"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_stopped_run_finishes_what_is_in_flight(project, number):
    """The operation under way is finished and saved, the next one is not begun."""
    project.write(SLOW)
    code, output = project.stop_when("b.txt", number)

    assert "operations in flight are finished" in output
    assert code == 3
    assert project.names == ["a", "b"]
    assert "pending_operations" not in project.state
    assert project.up(QUICK).changes == {"same": 3, "create": 1}


def test_second_run_at_the_same_time_is_refused(project):
    """While another run works, up says who holds the stack and touches nothing."""
    project.write(SLOW)
    process = project.spawn_until("b.txt")
    try:
        with pytest.raises(errors.StateLocked) as refused:
            project.up()
    finally:
        project.open_gate()
        process.communicate(timeout=60)

    assert f"pid {process.pid}" in str(refused.value)
    assert socket.gethostname() in str(refused.value)
    assert project.names == ["a", "b", "c"]


def test_lock_of_another_host_is_never_taken_over(project):
    """Whether a process elsewhere is alive cannot be known here."""
    project.up("")
    locks = project.backend / ".pulumi" / "locks" / "organization" / "shop" / "dev"
    locks.mkdir(parents=True, exist_ok=True)
    (locks / "x.json").write_text(
        json.dumps({"pid": 1, "username": "eve", "hostname": "elsewhere", "timestamp": "now"})
    )

    with pytest.raises(errors.StateLocked, match="eve on elsewhere"):
        project.up()


def test_reused_pid_does_not_keep_a_lock(project):
    """A living process that started after the lock was taken cannot be its holder."""
    project.up("")
    locks = project.backend / ".pulumi" / "locks" / "organization" / "shop" / "dev"
    locks.mkdir(parents=True, exist_ok=True)
    holder = {
        "pid": os.getpid(),
        "username": "root",
        "hostname": socket.gethostname(),
        "timestamp": "2001-01-01T00:00:00+00:00",
    }
    (locks / "x.json").write_text(json.dumps(holder))

    assert not project.up().failed


@pytest.mark.parametrize("keep", [0, 1, 300, -2], ids=["empty", "brace", "half", "almost"])
def test_truncated_state_is_named_with_its_backup(project, keep):
    """A cut state file is never overwritten; the message says what to copy back."""
    project.up('File("a", folder, "1")')
    project.up('File("a", folder, "2")')
    project.state_file.write_text(project.state_file.read_text()[:keep])
    damaged = project.state_file.read_text()

    with pytest.raises(errors.StateCorrupt) as refused:
        project.up()

    backup = project.state_file.with_name("dev.json.bak")
    assert f"cp {backup} {project.state_file}" in str(refused.value)
    assert project.state_file.read_text() == damaged
    backup.replace(project.state_file)
    assert project.up().changes["same"] >= 1


def test_wrong_passphrase_touches_nothing(project, monkeypatch):
    """Another passphrase is recognised before anything is read or written."""
    project.up('File("a", folder, "1", note=pulumi.Output.secret("x"))')
    before = project.state_file.read_text()
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "other")

    with pytest.raises(errors.WrongPassphrase, match=r"dev\.json"):
        project.up('File("b", folder, "1")')

    assert project.state_file.read_text() == before
    assert sorted(project.files) == ["a.txt"]


def test_passphrase_is_generated_where_none_is_given(project, monkeypatch):
    """The first run makes a private passphrase file, later runs use it."""
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE")
    project.up('pulumi.export("word", pulumi.Output.secret("hush"))')
    path = project.backend / "passphrase"

    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert project.engine().outputs(show_secrets=True) == {"word": "hush"}


def test_state_is_private(project):
    """Only the owner may read the state, its backups, its history and their folders."""
    project.up('File("a", folder, "1")')
    project.up('File("a", folder, "2")')
    book = project.backend / ".pulumi"
    files = [each for each in book.rglob("*.json*") if each.is_file()]

    assert len(files) == 7
    assert {oct(each.stat().st_mode & 0o777) for each in files} == {"0o600"}
    assert {oct(each.parent.stat().st_mode & 0o777) for each in files} == {"0o700"}
