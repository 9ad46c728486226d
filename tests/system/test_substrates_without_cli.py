"""Stacks on other machines, without the Pulumi CLI: previewed offline, refused by `up`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEX = Path(sys.executable).with_name("bex")


def bex(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of bex in the project itself, with a state of its own."""
    return subprocess.run(
        [BEX, *arguments, "--cwd", str(ROOT)],
        env={**os.environ, "BEX_HOME": str(home), "PULUMI_CONFIG_PASSPHRASE": "test"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ("local", {"docker:index/container:Container", "kubernetes:helm.sh/v3:Release"}),
        ("hetzner", {"hcloud:index/server:Server", "hcloud:index/loadBalancer:LoadBalancer"}),
    ],
)
def test_preview_lists_every_resource_with_its_inputs(
    tmp_path: Path, stack: str, expected: set[str]
) -> None:
    """Offline, without an account, and with a cluster that nobody has made yet."""
    steps = json.loads(bex(tmp_path / "home", "preview", "-s", stack, "--json").stdout)["steps"]
    states = [step["newState"] for step in steps]

    types = {state["type"] for state in states}
    assert expected | {"kubernetes:cluster.x-k8s.io/v1beta2:Cluster"} <= types
    assert len(steps) > 60
    assert all(state.get("inputs") for state in states if "kubernetes:" in state["type"])


def test_up_names_what_needs_the_cli_and_touches_nothing(tmp_path: Path) -> None:
    """The message ends with the command to run instead."""
    done = bex(tmp_path / "home", "up", "-s", "local", "--yes")

    assert done.returncode == 10
    assert "kubernetes:helm.sh/v3:Release" in done.stderr
    assert "--stack local" in done.stderr
    assert list((tmp_path / "home").rglob("*.json")) == []


def test_preview_works_while_the_cluster_cannot_be_reached(tmp_path: Path) -> None:
    """What somebody else's infra cluster would be asked is not known; all else is listed."""
    server = {"server": "https://127.0.0.1:9"}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gone", "cluster": server}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "me"}}],
        "current-context": "gone",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    file = tmp_path / "Pulumi.local.yaml"
    text = (ROOT / "Pulumi.local.yaml").read_text().rstrip()
    more = f"  bex:clusterApi: existing\n  bex:infraKubeconfig: {tmp_path}/kubeconfig\n"
    file.write_text(f"{text}\n{more}")
    done = bex(tmp_path / "home", "preview", "-s", "local", "--config-file", str(file), "--json")

    assert done.returncode == 0, done.stderr
    types = {step["newState"]["type"] for step in json.loads(done.stdout)["steps"]}
    assert "kubernetes:cluster.x-k8s.io/v1beta2:Cluster" in types
    assert "pulumi-python:dynamic/bex:KindCluster" not in types
