"""Bad input: each kind has its own message and exit code, and nothing is touched."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support import stacks


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> stacks.Stack:
    """A project that was never brought up, in a folder with a short path: sockets lie below it."""
    made = stacks.make(tmp_path_factory.mktemp("s"), number=9)
    made.write_app("hello")
    return made


def refused(stack: stacks.Stack, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a command that must be refused; its exit code and message."""
    done = subprocess.run(
        stack.command(*arguments),
        env={**stack.env(), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


def assert_untouched(stack: stacks.Stack) -> None:
    """Nothing was made: no instance folder, no state, no bridge."""
    assert not (stack.home / "instances").exists()
    assert not list(stack.home.glob("pulumi/.pulumi/stacks/**/*.json"))
    assert not Path(f"/sys/class/net/{stack.instance}0").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"imagee": "x"}, "imagee"),
        ({"port": "eighty"}, "port"),
        ({"port": 0}, "port"),
        ({"replicas": 101}, "replicas"),
        ({"host": "not a host"}, "host"),
    ],
    ids=["unknown-field", "wrong-type", "port-0", "too-many-replicas", "bad-host"],
)
def test_bad_app_is_refused(fresh: stacks.Stack, fields: dict[str, object], message: str) -> None:
    """The message names file, field and rule; the exit code is 4."""
    fresh.write_app("hello", **fields)

    code, said = refused(fresh, "up", "--yes")

    assert code == 4
    assert "apps/hello.py:3" in said
    assert message in said
    assert_untouched(fresh)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"name": "hello", "host": "else.localhost"}, "name 'hello'"),
        ({"host": "HELLO.localhost"}, "host 'hello.localhost'"),
    ],
    ids=["name", "host"],
)
def test_second_claim_is_refused(
    fresh: stacks.Stack, second: dict[str, object], message: str
) -> None:
    """Two apps with one name, or one host however it is spelt, are refused; both files named."""
    fresh.write_app("other", **second)

    code, said = refused(fresh, "up", "--yes")

    assert code == 4
    assert message in said
    assert "apps/hello.py" in said
    assert "apps/other.py" in said
    assert_untouched(fresh)


def test_unknown_setting_is_refused(fresh: stacks.Stack) -> None:
    """The message names stack file and key; the exit code is 5."""
    fresh.set_config("bex:wrokers", 3)

    code, said = refused(fresh, "up", "--yes")

    assert code == 5
    assert "Pulumi.test.yaml: bex:wrokers is not a setting" in said
    assert_untouched(fresh)


def test_home_that_is_too_long_is_refused(fresh: stacks.Stack) -> None:
    """Unix sockets lie below BEX_HOME: the message says so, with the limit; the exit code is 5."""
    code, said = refused(fresh, "up", "--yes", BEX_HOME=f"/tmp/{'x' * 90}")  # noqa: S108 - not made

    assert code == 5
    assert "BEX_HOME" in said
    assert "is too long" in said
    assert_untouched(fresh)


def test_port_in_use_is_refused(fresh: stacks.Stack) -> None:
    """The message names port, setting and holder; the exit code is 3."""
    with socket.create_server(("127.0.0.1", fresh.http_port)):
        code, said = refused(fresh, "up", "--yes")

    assert code == 3
    assert str(fresh.http_port) in said
    assert "bex:edgeHttpPort" in said
    assert_untouched(fresh)


def test_refused_scale_leaves_the_stack_file(fresh: stacks.Stack) -> None:
    """Where the run cannot begin, the number of machines stays what it was."""
    file = fresh.project / "Pulumi.test.yaml"
    before = file.read_text()
    with socket.create_server(("127.0.0.1", fresh.http_port)):
        code, _ = refused(fresh, "machines", "scale", "3", "--yes")

    assert code == 3
    assert file.read_text() == before


def test_other_than_root_is_refused(fresh: stacks.Stack) -> None:
    """Real machines need root; the message says so, and what else there is."""
    # In a user namespace without a mapping one is nobody, yet may still read these files.
    done = subprocess.run(
        ["unshare", "--user", *fresh.command("up", "--yes")],
        env=fresh.env(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 3, done
    assert "root" in done.stderr
    assert_untouched(fresh)


def test_disk_that_is_too_small_is_refused(fresh: stacks.Stack) -> None:
    """The message says where how much is needed; nothing is written there."""
    fresh.home.mkdir()
    # The disk is seen by these commands alone and goes with them.
    script = """
        mount -t tmpfs -o size=64m small "$BEX_HOME" && "$@"
        code=$?
        find "$BEX_HOME" -mindepth 1
        exit $code
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *fresh.command("up", "--yes")],
        env=fresh.env(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 3, done
    assert f"state (BEX_HOME) {fresh.home}: 0.1 GiB free, 2 GiB needed" in done.stderr
    assert str(fresh.home) not in done.stdout
    assert_untouched(fresh)


def test_missing_tool_is_refused_with_what_mends_it(fresh: stacks.Stack, tmp_path: Path) -> None:
    """Without nft and apt-get on PATH the message names both the tool and the command."""
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("mount", "umount", "nsenter", "unshare", "setpriv", "cc", "gcc", "pkg-config"):
        found = shutil.which(name)
        if found:
            (bare / name).symlink_to(found)

    code, said = refused(fresh, "up", "--yes", PATH=str(bare))

    assert code == 3
    assert "nft" in said
    assert "nftables" in said
    assert_untouched(fresh)


def test_truncated_state_is_refused(fresh: stacks.Stack) -> None:
    """A state file that ends early is named, and left as it is."""
    state = fresh.home / "pulumi/.pulumi/stacks/bex/test.json"
    state.parent.mkdir(parents=True)
    state.write_text('{"version": 3, "checkpoint": {')

    code, said = refused(fresh, "up", "--yes")

    assert code == 6
    assert str(state) in said
    assert state.read_text() == '{"version": 3, "checkpoint": {'


def test_unknown_stack_is_refused(fresh: stacks.Stack) -> None:
    """A stack without a file shows which there are."""
    (fresh.project / "Pulumi.test.yaml").rename(fresh.project / "Pulumi.other.yaml")

    code, said = refused(fresh, "up", "--yes")

    assert code == 5
    assert "Pulumi.other.yaml" in said


def test_wrong_passphrase_is_refused(stack: stacks.Stack) -> None:
    """A running stack with another passphrase: exit code 7, and the state keeps its bytes."""
    state = stack.home / "pulumi/.pulumi/stacks/bex/test.json"
    before = state.read_bytes()

    code, said = refused(stack, "up", "--yes", PULUMI_CONFIG_PASSPHRASE="wrong")

    assert code == 7
    assert "passphrase" in said
    assert state.read_bytes() == before


def test_second_up_at_the_same_time_is_refused(stack: stacks.Stack) -> None:
    """While another run holds the stack's lock, the exit code is 8 and the holder is named."""
    folder = stack.home / "pulumi/.pulumi/locks/organization/bex/test"
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "11111111-1111-1111-1111-111111111111.json"
    holder.write_text(
        f'{{"pid": {os.getpid()}, "username": "someone", "hostname": "{socket.gethostname()}",'
        ' "timestamp": "2099-01-01T00:00:00Z"}'
    )
    try:
        code, said = refused(stack, "up", "--yes")
    finally:
        holder.unlink()

    assert code == 8
    assert "someone" in said
