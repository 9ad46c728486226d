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
