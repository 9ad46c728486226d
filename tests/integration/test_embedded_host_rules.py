"""Machines reach the outside on hosts whose own firewall drops what it does not know."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DOCKER = """
table ip filter {
  chain DOCKER-USER { return; }
  chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }
}
"""
UFW = """
table ip filter {
  chain FORWARD { type filter hook forward priority 0; policy drop; }
  chain INPUT { type filter hook input priority 0; policy drop; }
}
"""
NFTABLES = """
table inet filter {
  chain forward { type filter hook forward priority 0; policy drop; }
  chain input { type filter hook input priority 0; policy accept; }
}
"""


@pytest.mark.parametrize("rules", [DOCKER, UFW, NFTABLES], ids=["docker", "ufw", "nftables"])
def test_machines_pass_a_host_that_drops(rules: str, tmp_path: Path) -> None:
    """The instance's rules let it through, are there once, and leave the host's as they were."""
    program = [sys.executable, "-m", "tests.support.dropping_host", str(tmp_path), rules]
    done = subprocess.run(
        ["unshare", "--net", "--mount", *program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert found["before"] == {"outside": False, "host": "chain INPUT" not in rules}
    assert found["after"] == {"outside": True, "host": True}
    assert found["in place"]
    assert found["again"] == found["ours"] != found["at first"]
    assert found["removed"] == found["at first"]
