"""supervisord keeps what it is told to keep, and no more, through kills of anything."""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bex_stack.embedded import instance as instances
from bex_stack.embedded import orphans, processes, readiness, supervision
from tests.support.waiting import wait_until


@pytest.fixture
def instance() -> Iterator[instances.Instance]:
    """An instance with a supervisord of its own, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="bex-s-"))
    made = instances.Instance(home=home, name=f"t{secrets.token_hex(3)}")
    yield made
    supervision.shut_down(made)
    shutil.rmtree(home)


def sleeper(name: str = "sleeper", seconds: int = 1000) -> processes.Process:
    """Return a process that does nothing."""
    return processes.Process(name, ("/bin/sleep", str(seconds)))


def test_a_second_ensure_starts_nothing(instance: instances.Instance) -> None:
    """What runs as wanted is left alone."""
    touched = [supervision.ensure(instance, [sleeper()]) for _ in range(2)]

    assert touched == [["sleeper"], []]
    assert supervision.pending(instance, [sleeper()]) == []


def test_a_changed_process_restarts_alone(instance: instances.Instance) -> None:
    """A new command starts one process anew and leaves the others."""
    supervision.ensure(instance, [sleeper("a"), sleeper("b")])
    before = supervision.states(instance)
    supervision.ensure(instance, [sleeper("a", 999)])
    after = supervision.states(instance)

    assert before["a"].pid != after["a"].pid
    assert before["b"].pid == after["b"].pid


def test_a_changed_input_restarts_its_process(instance: instances.Instance, tmp_path: Path) -> None:
    """A file that is read at start only is part of what the process is."""
    file = tmp_path / "config"
    file.write_text("1")
    process = processes.Process("reader", ("/bin/sleep", "1000"), inputs=(file,))
    supervision.ensure(instance, [process])
    file.write_text("2")

    assert supervision.pending(instance, [process]) == ["reader"]
    assert supervision.ensure(instance, [process]) == ["reader"]


def test_every_argument_and_variable_arrives_as_written(instance: instances.Instance) -> None:
    """Quotes, percent signs, semicolons and line breaks reach the process."""
    nasty = "a'b\"c %(here)s 50% ; # \\ $HOME\nnext"
    command = ("/bin/sh", "-c", 'printf "%s|%s" "$1" "$VALUE"; sleep 1000', "sh", nasty)
    process = processes.Process("echo", command, environment={"VALUE": nasty})
    supervision.ensure(instance, [process])
    wait_until(lambda: nasty in supervision.log_tail(instance, "echo"), "it has spoken")

    assert supervision.log_tail(instance, "echo") == f"{nasty}|{nasty}"


def test_a_killed_process_comes_back(instance: instances.Instance) -> None:
    """kill -9 of a process is a restart."""
    supervision.ensure(instance, [sleeper()])
    pid = supervision.states(instance)["sleeper"].pid
    os.kill(pid, signal.SIGKILL)

    wait_until(lambda: supervision.states(instance)["sleeper"].pid not in (0, pid), "it runs")


def test_orphans_of_a_killed_supervisor_are_ended(instance: instances.Instance) -> None:
    """After kill -9 of supervisord the next ensure ends what it left and starts it anew."""
    supervision.ensure(instance, [sleeper("a"), sleeper("b")])
    left = orphans.find(instance.name)
    os.kill(int((instance.run_dir / "supervisord.pid").read_text()), signal.SIGKILL)
    wait_until(lambda: not supervision.is_running(instance), "it has ended")
    supervision.ensure(instance, [sleeper("a")])

    assert not set(left) & set(orphans.find(instance.name))
    assert list(supervision.states(instance)) == ["a"]


def test_an_instance_of_another_home_is_not_ended(
    instance: instances.Instance, tmp_path: Path
) -> None:
    """One name on a host, two BEX_HOMEs: the second is refused, and the first runs on."""
    supervision.ensure(instance, [sleeper()])
    other = instances.Instance(home=tmp_path, name=instance.name)
    for deed in (supervision.ensure_running, supervision.shut_down):
        with pytest.raises(supervision.SupervisionError, match=f"runs from {instance.dir}"):
            deed(other)

    assert supervision.missing(instance, ["sleeper"]) == []


def test_the_environment_is_clean(
    instance: instances.Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the caller's environment reaches a supervised process."""
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    supervision.ensure(instance, [sleeper()])
    pid = supervision.states(instance)["sleeper"].pid
    names = {part.partition(b"=")[0] for part in _environment(pid)}

    assert b"SECRET_TOKEN" not in names
    assert {b"PATH", b"HOME", b"BEX_INSTANCE"} <= names


def test_removed_processes_are_forgotten(instance: instances.Instance) -> None:
    """A process that is removed stops; removing it again is no error."""
    supervision.ensure(instance, [sleeper("a"), sleeper("b")])
    supervision.remove(instance, ["a"])
    supervision.remove(instance, ["a", "never"])

    assert list(supervision.states(instance)) == ["b"]


def test_what_ends_with_another_is_stopped_with_it(
    instance: instances.Instance, tmp_path: Path
) -> None:
    """A process that ends of its own when another is stopped is not started anew."""
    flag = tmp_path / "flag"
    flag.touch()
    leader = f'trap "rm {flag}; exit" TERM; while :; do sleep 0.01; done'
    follower = f"while [ -e {flag} ]; do :; done; exit 1"
    commands = {"leader": leader, "follower": follower}
    supervision.ensure(
        instance,
        [processes.Process(name, ("/bin/sh", "-c", text)) for name, text in commands.items()],
    )
    supervision.stop(instance, ["leader", "follower"])

    states = supervision.states(instance)
    assert {states[name].state for name in commands} == {"STOPPED"}


def test_a_failed_wait_shows_the_log(instance: instances.Instance) -> None:
    """Whoever waits in vain learns what was awaited and what the process said last."""
    broken = processes.Process("broken", ("/bin/sh", "-c", "echo no such luck; exit 3"))
    supervision.ensure(instance, [broken])
    wait_until(lambda: "luck" in supervision.log_tail(instance, "broken"), "it spoke")
    with pytest.raises(readiness.NotReady, match=r"(?s)the oracle .* 0 s.*no such luck"):
        readiness.wait(
            lambda: False, what="the oracle", timeout_seconds=0, instance=instance, process="broken"
        )


def test_the_socket_is_private(instance: instances.Instance) -> None:
    """Only the owner gives orders to supervisord."""
    supervision.ensure_running(instance)

    assert instance.supervisor_socket.stat().st_mode & 0o777 == 0o700
    assert instance.run_dir.stat().st_mode & 0o777 == 0o700


def _environment(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
