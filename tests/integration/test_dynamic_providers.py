"""What the dynamic providers of `capd` and `caph` do, as far as a test can without Docker."""

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest
import yaml

from components import infra_cluster, pins
from components.dynamic import clusterctl, kind, kubeconfigs, passwords, programs
from tests.support.api_server import ApiServer

Script = Callable[[str, str], None]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Put a program on PATH, in front of all others; nothing of bex's own is found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("BEX_CACHE", str(tmp_path / "cache"))

    def write(name: str, body: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)

    return write


def test_kubeconfig_of_a_cluster_that_answers_is_ready(api_server: ApiServer) -> None:
    """Asked with the kubeconfig's own certificates, and its authority checked."""
    assert kubeconfigs.is_ready(api_server.kubeconfig.read_text()) == "ready"


def test_kubeconfig_of_a_cluster_with_another_authority_is_not_ready(
    api_server: ApiServer, tmp_path: Path
) -> None:
    """A server that somebody else's authority vouches for is not ours."""
    config = yaml.safe_load(api_server.kubeconfig.read_text())
    wrong = kubeconfigs.with_server(yaml.safe_dump(config), "https://localhost:1")

    assert kubeconfigs.is_ready(wrong) is None


def test_kubeconfig_that_checks_nothing_is_refused(api_server: ApiServer) -> None:
    """`insecure-skip-tls-verify` would hand the cluster's keys to whoever answers."""
    config = yaml.safe_load(api_server.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True

    with pytest.raises(programs.ProgramError, match="does not check its server"):
        kubeconfigs.with_server(yaml.safe_dump(config), "https://localhost:1")


def test_kubeconfig_is_replaced_in_one_step_and_private(tmp_path: Path) -> None:
    """Nobody else reads it, whatever the file's mode was before."""
    file = tmp_path / "infra" / "bex.kubeconfig"
    kubeconfigs.write(file, "old")
    file.chmod(0o644)
    kubeconfigs.write(file, "new")

    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["bex.kubeconfig"]


def test_kubeconfig_names_the_published_port_and_a_control_plane_machine(
    api_server: ApiServer, script: Script, tmp_path: Path
) -> None:
    """The Secret of the infra cluster becomes a proven file that this host can use."""
    text = api_server.kubeconfig.read_text()
    port = api_server.url.rpartition(":")[2]
    secret = {"data": {"value": base64.b64encode(text.encode()).decode()}}
    node = {"status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.4"}]}}
    (tmp_path / "secret").write_text(json.dumps(secret))
    (tmp_path / "nodes").write_text(json.dumps({"items": [node]}))
    script("docker", f"echo 127.0.0.1:{port}")
    script(
        "kubectl",
        f'case "$*" in *secret*) cat {tmp_path}/secret;; *) cat {tmp_path}/nodes;; esac',
    )

    made = kubeconfigs.AppKubeconfigProvider().ensure(
        {
            "cluster": "bex",
            "namespace": "bex-capi",
            "infra_kubeconfig": "kind: Config",
            "load_balancer": "bex-lb",
            "file": str(tmp_path / "bex.kubeconfig"),
        }
    )

    assert made["address"] == "172.18.0.4"
    server = yaml.safe_load(made["kubeconfig"])["clusters"][0]["cluster"]["server"]
    assert server == f"https://127.0.0.1:{port}"
    assert (tmp_path / "bex.kubeconfig").read_text() == made["kubeconfig"]


def test_clusterctl_installs_only_what_is_missing_and_upgrades_what_is_older(
    script: Script, tmp_path: Path
) -> None:
    """A second run after an interrupted one finishes it; secrets are in no argument."""
    older = (
        '{"items": [{"type": "CoreProvider", "providerName": "cluster-api", "version": "v1.13.0"}]}'
    )
    script("kubectl", f"case \"$*\" in *api-resources*) echo providers;; *) echo '{older}';; esac")
    script("clusterctl", f'echo "$@" >> {tmp_path}/calls')
    wanted = [*infra_cluster.PROVIDERS["capd"]]
    clusterctl.ClusterctlProvider().ensure(
        {
            "cluster": "bex-mgmt",
            "kubeconfig": "token: hidden",
            "folder": "pins",
            "providers": [
                {"name": p.name, "type": p.type, "version": p.version, "path": p.path}
                for p in wanted
            ],
        }
    )

    init, upgrade = (tmp_path / "calls").read_text().splitlines()
    assert init.startswith("init --bootstrap kubeadm:v1.14.2 --control-plane kubeadm:v1.14.2")
    assert upgrade.startswith(f"upgrade apply --core cluster-api:{pins.CLUSTER_API} ")
    assert "hidden" not in init + upgrade


def test_kind_cluster_that_is_there_is_not_made_again(script: Script) -> None:
    """An `up` that was interrupted after it finds it."""
    script(
        "kind",
        'case "$*" in "get clusters") echo bex-mgmt;; "get kubeconfig"*) echo k;; *) exit 9;; esac',
    )
    made = kind.KindProvider().ensure({"cluster": "bex-mgmt", "image": "i", "configuration": {}})

    assert made == {"kubeconfig": "k\n"}


def test_program_that_fails_is_told_with_what_it_printed(script: Script) -> None:
    """The last lines are what a person needs."""
    script("kind", "echo boom >&2; exit 3")

    with pytest.raises(programs.ProgramError, match=r"kind get clusters failed \(3\):\nboom"):
        programs.run(["kind", "get", "clusters"], timeout_seconds=60)


def test_program_that_is_missing_is_named_with_what_mends_it(script: Script) -> None:
    """Pinned programs are built by a target of the Makefile."""
    with pytest.raises(programs.ProgramError, match="mend it with: make cluster-api"):
        programs.find("clusterctl")


def test_wait_says_what_for_and_what_went_wrong_last() -> None:
    """A time-out without a reason helps nobody."""

    def never() -> str | None:
        raise programs.ProgramError("refused")

    with pytest.raises(programs.ProgramError, match="waited 0 s for the moon; last: refused"):
        programs.wait("the moon", never, timeout_seconds=0, pause_seconds=0)


def test_password_opens_its_own_line_of_htpasswd() -> None:
    """bcrypt, as Zot wants it."""
    made = passwords.PasswordProvider().ensure({"user": "bex-builder"})
    user, _, hashed = made["htpasswd"].strip().partition(":")

    assert user == "bex-builder"
    assert bcrypt.checkpw(made["password"].encode(), hashed.encode())


@pytest.mark.parametrize(
    ("provider", "old", "new", "replaced"),
    [
        (kind.KindProvider(), {"image": "a"}, {"image": "b"}, ["image"]),
        (kind.KindProvider(), {"image": "a"}, {"image": "a"}, []),
        (passwords.PasswordProvider(), {"user": "a"}, {"user": "a", "password": None}, []),
    ],
    ids=["another-image", "the-same", "outputs-do-not-count"],
)
def test_only_inputs_that_count_are_a_change(
    provider: kind.KindProvider, old: dict[str, str], new: dict[str, str], replaced: list[str]
) -> None:
    """A second `up` changes nothing."""
    diff = provider.diff("id", old, new)

    assert diff.replaces == replaced
    assert diff.changes is bool(replaced)


def test_kind_node_sees_the_docker_that_makes_it() -> None:
    """Rootless Docker listens elsewhere; the node knows it by the usual path all the same."""
    made = kind.on_docker(kind.configuration("kindnet"), "unix:///run/user/1000/docker.sock")

    (node,) = made["nodes"]
    assert node["extraMounts"] == [
        {"hostPath": "/run/user/1000/docker.sock", "containerPath": kind.SOCKET}
    ]
    assert kind.on_docker(made, "ssh://elsewhere") == made


@pytest.mark.parametrize(("on_it", "removed"), [(0, True), (2, False)])
def test_network_of_kind_goes_with_the_last_container(
    script: Script, tmp_path: Path, on_it: int, removed: bool
) -> None:
    """kind leaves it behind; somebody else's container keeps it."""
    script("kind", "exit 0")
    script(
        "docker",
        f'echo "$*" >> {tmp_path}/calls; '
        f'case "$*" in "network ls"*) echo id;; "network inspect"*) echo {on_it};; esac',
    )
    kind.KindProvider().remove({"cluster": "bex-mgmt"})

    assert ("network rm kind" in (tmp_path / "calls").read_text()) == removed
