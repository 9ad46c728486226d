"""Names of repositories that lead outside when they are looked at and inside when dialled."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.build_steps import REPOSITORY_FAULT, program

__all__ = ["program"]


def test_name_that_turns_inward_leads_nowhere(program: Path, tmp_path: Path) -> None:
    """Whatever a real name server says the second time, or beside a public address: neither the
    clone step nor the operator dials what is inside."""
    arguments = [sys.executable, "-m", "tests.support.rebinding", str(tmp_path), str(program)]
    done = subprocess.run(
        ["unshare", "--net", "--mount", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert (found["steady"]["code"], found["steady"]["operator"]) == (0, ["main", "main"])
    assert found["rebound"]["asked"][:2] == [["1.2.3.4"], ["10.1.2.3"]]
    for case in ("rebound", "inner"):
        assert found[case]["code"] == REPOSITORY_FAULT
        assert "10.1.2.3 leads to an inner address" in found[case]["message"]
        assert "has no public address" in found[case]["operator"][-1]
    assert found["mixed"]["code"] != 0
    assert all("main" not in each.split() for each in found["mixed"]["operator"])
    assert [each["knocks"] for each in found.values()] == [0, 0, 0, 0]
