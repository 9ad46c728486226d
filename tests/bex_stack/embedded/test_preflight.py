"""The rules for a host, and that this host is seen as it is."""

import dataclasses
import socket
from pathlib import Path
from typing import Any

import pytest

from bex_stack.embedded import host_facts, preflight, system_packages

CACHE, STATE = Path("/cache"), Path("/state")
PORT = preflight.Port(8080, "bex:edgeHttpPort")
NEEDS = preflight.Needs(
    CACHE, STATE, builds=("etcd", "runc"), ports=(PORT,), instance="bex", makes_operator_image=True
)
GOOD = preflight.Host(
    system="Linux",
    is_root=True,
    commands=frozenset(preflight.COMMAND_PACKAGES),
    free_bytes={CACHE: 20 * preflight.GIB, STATE: 20 * preflight.GIB},
    filesystems={CACHE: 1, STATE: 1},
    memory_bytes=4 * preflight.GIB,
)


def test_good_host_has_no_problem() -> None:
    """A host that offers everything passes."""
    assert preflight.check(NEEDS, GOOD) == []


@pytest.mark.parametrize(
    ("change", "what", "mend"),
    [
        ({"system": "Darwin"}, "system", "run bex on a Linux host"),
        ({"is_root": False}, "user", "sudo make up"),
        ({"commands": GOOD.commands - {"nft"}}, "nft", "apt-get install -y nftables"),
        ({"has_c_compiler": False}, "C compiler", "apt-get install -y gcc libc6-dev"),
        (
            {"has_seccomp_headers": False},
            "libseccomp headers",
            "apt-get install -y libseccomp-dev pkg-config",
        ),
        ({"has_apt": False}, "apt-get", "bex:operator: source"),
        ({"has_certificates": False}, "certificates", "apt-get install -y ca-certificates"),
        ({"memory_bytes": preflight.GIB}, "memory", "more memory"),
        ({"kernel_errors": {"overlayfs": "no such device"}}, "kernel: overlayfs", "modprobe"),
        (
            {"elsewhere": Path("/other/instances/bex")},
            "instance 'bex'",
            "BEX_HOME=/other bex destroy",
        ),
        (
            {"taken_ports": {("127.0.0.1", 8080): "nginx (process 7)"}},
            "port 8080",
            "set bex:edgeHttpPort in the stack file",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_lack_is_one_problem_with_its_mending(
    change: dict[str, Any], what: str, mend: str
) -> None:
    """Whatever is missing is named once, with the command that mends it."""
    (problem,) = preflight.check(NEEDS, dataclasses.replace(GOOD, **change))

    assert problem.what == what
    assert mend in problem.mend


def test_all_problems_are_found_at_once() -> None:
    """Nobody mends one thing only to be told of the next."""
    bad = dataclasses.replace(GOOD, is_root=False, commands=frozenset(), has_c_compiler=False)
    found = [problem.what for problem in preflight.check(NEEDS, bad)]

    assert found == ["user", *preflight.COMMAND_PACKAGES, "C compiler"]


def test_compiler_is_needed_only_to_build_runc() -> None:
    """A warm cache asks for no compiler, no headers and no room for Go."""
    bare = dataclasses.replace(
        GOOD,
        has_c_compiler=False,
        has_seccomp_headers=False,
        has_certificates=False,
        free_bytes={CACHE: 0, STATE: 3 * preflight.GIB},
        filesystems={CACHE: 1, STATE: 2},
    )

    assert preflight.check(dataclasses.replace(NEEDS, builds=()), bare) == []


def test_simulated_machines_need_neither_root_nor_tools() -> None:
    """What only real machines need is not asked of a host for simulated ones."""
    bare = dataclasses.replace(GOOD, is_root=False, commands=frozenset())
    needs = dataclasses.replace(NEEDS, has_real_machines=False, builds=("kwok",))

    assert preflight.check(needs, bare) == []


def test_folders_on_one_disk_share_its_space() -> None:
    """Nine GiB are enough for either folder, not for both on one disk."""
    nine = {CACHE: 9 * preflight.GIB, STATE: 9 * preflight.GIB}
    one = dataclasses.replace(GOOD, free_bytes=nine)
    two = dataclasses.replace(one, filesystems={CACHE: 1, STATE: 2})
    (problem,) = preflight.check(NEEDS, one)

    assert problem.rule == (
        "state (BEX_HOME) /state and cache (BEX_CACHE) /cache: 9.0 GiB free, 10 GiB needed"
    )
    assert preflight.check(NEEDS, two) == []


def test_no_apt_is_not_told_to_use_it() -> None:
    """On another distribution the package is named, not a command that is not there."""
    needs = dataclasses.replace(NEEDS, makes_operator_image=False)
    other = dataclasses.replace(GOOD, has_apt=False, commands=GOOD.commands - {"nft"})
    (problem,) = preflight.check(needs, other)

    assert "apt-get" not in problem.mend
    assert "nftables" in problem.mend


def test_taken_port_is_seen_with_its_holder(tmp_path: Path) -> None:
    """A listening socket of this very process is reported by its number and process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = preflight.Port(listener.getsockname()[1], "bex:registryPort")
        needs = preflight.Needs(tmp_path, tmp_path, ports=(port,), tries_kernel=False)
        taken = host_facts.observe(needs).taken_ports

    assert list(taken) == [("127.0.0.1", port.number)]
    assert "(process " in taken["127.0.0.1", port.number]


def test_free_port_is_not_taken(tmp_path: Path) -> None:
    """A port somebody has just given up is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = preflight.Port(listener.getsockname()[1], "bex:registryPort")
    needs = preflight.Needs(tmp_path, tmp_path, ports=(port,), tries_kernel=False)

    assert host_facts.observe(needs).taken_ports == {}


def test_host_is_seen_without_leaving_a_trace(tmp_path: Path) -> None:
    """The kernel is tried in namespaces of its own, and folders that are missing stay so."""
    needs = preflight.Needs(tmp_path / "cache", tmp_path / "state" / "deep")
    host = host_facts.observe(needs)

    assert host.system == "Linux"
    assert host.memory_bytes > 0
    assert host.kernel_errors == {}
    assert list(tmp_path.iterdir()) == []


def test_host_is_left_alone_if_packages_do_not_mend_it_all() -> None:
    """Where a person has to act anyway nothing is installed behind their back."""
    memory = preflight.Problem("memory", "too little", "use another machine")
    package = preflight.Problem("nft", "missing", "apt-get install -y nftables", ("nftables",))

    assert system_packages.mend_with_apt([memory, package]) == ()


def test_probe_imports_one_small_module_of_bex() -> None:
    """It starts in a fraction of a second."""
    text = Path(host_facts.__file__).with_name("kernel_probe.py").read_text()
    imports = [line for line in text.splitlines() if line.lstrip().startswith(("import", "from"))]

    assert [line for line in imports if "bex" in line] == ["from bex_stack.embedded import netlink"]
