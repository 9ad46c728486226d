"""`bex preflight`, `bex audit` and `bex destroy` of a stack at Hetzner, as they are typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bex_stack import exit_codes, stack_files, targets
from bex_stack.engine import passphrase
from bex_stack.hetzner import access
from tests.bex_stack.hetzner import examples
from tests.support import hetzner_api
from tests.support.hetzner_api import Hetzner

BEX = Path(sys.executable).with_name("bex")
EDGE = {"name": "bex-edge", "labels": {"bex-stack": "hetzner"}}


def bex(hetzner: Hetzner, *arguments: str, token: str = hetzner_api.TOKEN) -> "Done":
    """Run a command of bex on the checked-in stack, against the made-up Hetzner."""
    environment = {**os.environ, access.VARIABLE: token, access.ENDPOINT_VARIABLE: hetzner.url}
    return subprocess.run(
        [BEX, *arguments, "--stack", "hetzner", "--cwd", str(examples.ROOT)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


Done = subprocess.CompletedProcess[str]


def test_preflight_prints_costs_counts_and_every_finding(hetzner: Hetzner) -> None:
    """And ends with an error while something stands in the way."""
    hetzner.seed("networks", name="bex-infra")
    done = bex(hetzner, "preflight")

    assert done.returncode == exit_codes.FAILED
    assert "load balancer bex-edge" in done.stdout
    assert "networks bex-infra (1000): the name is taken" in done.stdout
    assert "bex:machineImage bex-node-v1.36.4: no image" in done.stdout
    assert "2 things stand in the way" in done.stderr


def test_preflight_for_programs_is_json(hetzner: Hetzner) -> None:
    """With a fit project it ends well."""
    examples.add_machine_image(hetzner)
    done = bex(hetzner, "preflight", "--json")
    told = json.loads(done.stdout)

    assert (done.returncode, told["findings"]) == (0, [])
    assert told["costs"]["monthly"]["least"]["net"] == "71.00"
    assert told["counts"]["servers"] == {"there": 0, "ours": 0, "most": 19}


def test_audit_fails_while_anything_is_left(hetzner: Hetzner) -> None:
    """And says so, name by name; then it does not."""
    made = hetzner.seed("load_balancers", **EDGE)
    left, told = bex(hetzner, "audit"), bex(hetzner, "audit", "--json")
    hetzner.project.remove("load_balancers", made)
    clean = bex(hetzner, "audit")

    assert left.returncode == exit_codes.FAILED
    assert "load balancer bex-edge" in left.stdout
    assert json.loads(told.stdout)[0]["command"] == f"hcloud load-balancer delete {made['id']}"
    assert (clean.returncode, clean.stdout) == (0, "nothing of stack 'hetzner' is at Hetzner\n")


def test_destroy_without_a_cluster_lifts_protection_and_names_what_pulumi_does(
    hetzner: Hetzner,
) -> None:
    """Only what has the stack's label is touched; the rest is commands, and exit code 10."""
    ours = hetzner.seed("load_balancers", **EDGE)
    foreign = hetzner.seed("load_balancers", name="other")
    for each in (ours, foreign):
        each["protection"]["delete"] = True
    done = bex(hetzner, "destroy", "--yes")

    assert done.returncode == exit_codes.NEEDS_CLI
    assert (ours["protection"]["delete"], foreign["protection"]["delete"]) == (False, True)
    commands = [line.strip() for line in done.stderr.splitlines()[1:]]
    assert commands == [
        "pulumi state unprotect --all --yes --stack hetzner",
        "pulumi destroy --stack hetzner",
        "bex audit --stack hetzner",
    ]


def test_destroy_tells_programs_its_plan(hetzner: Hetzner) -> None:
    """The same steps, as JSON."""
    done = bex(hetzner, "destroy", "--yes", "--json")

    assert done.returncode == exit_codes.NEEDS_CLI
    assert [each["command"] for each in json.loads(done.stdout)][-1] == "bex audit --stack hetzner"


def test_destroy_asks_before_it_touches_anything(hetzner: Hetzner) -> None:
    """Nobody there to say yes: nothing is done."""
    ours = hetzner.seed("load_balancers", **EDGE)
    ours["protection"]["delete"] = True
    done = bex(hetzner, "destroy")

    assert done.returncode == exit_codes.FAILED
    assert ours["protection"]["delete"]
    assert "1. protection: load_balancers/bex-edge" in done.stdout


def test_destroy_of_a_running_cluster_needs_its_kubeconfig(hetzner: Hetzner) -> None:
    """Without it, what controllers made would stay behind."""
    hetzner.seed("servers", name="bex-platform-a-b", labels={"caph-cluster-bex": "owned"})
    done = bex(hetzner, "destroy", "--yes")

    assert done.returncode == exit_codes.SETTINGS
    assert "infra/hetzner/bex.kubeconfig is not there" in done.stderr


def test_commands_refuse_stacks_that_are_elsewhere(hetzner: Hetzner) -> None:
    """There is nothing of theirs at Hetzner."""
    done = subprocess.run(
        [BEX, "audit", "--stack", "local", "--cwd", str(examples.ROOT)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == exit_codes.SETTINGS
    assert "bex:provider is capd" in done.stderr
    assert hetzner.requests == []


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "in the environment"])
def test_token_is_found_where_people_keep_it(tmp_path: Path, sealed: bool) -> None:
    """As a secret of the stack file, or as the variable that Hetzner's own tools read."""
    given = {"PULUMI_CONFIG_PASSPHRASE": "open"}
    (tmp_path / "Pulumi.yaml").write_text("name: bex\nruntime: python\n")
    file = tmp_path / "Pulumi.hetzner.yaml"
    file.write_text((examples.ROOT / "Pulumi.hetzner.yaml").read_text())
    if sealed:
        crypter = passphrase.create("open")
        stack_files.set_config(file, "hcloud:token", {"secure": crypter.encrypt("from the file")})
        file.write_text(f"encryptionsalt: {crypter.state}\n{file.read_text()}")
    else:
        given[access.VARIABLE] = "from the environment"
    target = targets.read_settings(tmp_path, "hetzner")

    expected = "from the file" if sealed else "from the environment"
    assert access.token_of(target, given) == expected
