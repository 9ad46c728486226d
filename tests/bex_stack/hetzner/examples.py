"""A stack at Hetzner for tests: the one that is checked in, with a key."""

from pathlib import Path

from bex_stack import caph_program, settings, stack_files
from bex_stack import settings_cluster_api as models
from bex_stack.hetzner import inventory
from tests.support.hetzner_api import Hetzner

ROOT = Path(__file__).parents[3]
STACK = "hetzner"
IMAGE = "bex-node-v1.36.4"


def stack_settings(**config: str) -> models.CaphSettings:
    """Read the checked-in stack file, with further settings."""
    given = stack_files.read_config(ROOT / f"Pulumi.{STACK}.yaml")
    more = {f"bex:{key}": value for key, value in config.items()}
    found = settings.parse(
        {**given, "bex:sshPublicKey": "ssh-ed25519 AAAA me", **more}, source="test"
    )
    assert isinstance(found, models.CaphSettings)
    return found


def wanted(**config: str) -> inventory.Inventory:
    """List what the stack makes."""
    found = stack_settings(**config)
    return inventory.of(found, STACK, caph_program.overlay(found))


def add_machine_image(hetzner: Hetzner) -> None:
    """Put the snapshot there that machines start from."""
    hetzner.snapshot(IMAGE, **{"caph-image-name": IMAGE})
