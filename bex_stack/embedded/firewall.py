"""The instance's own nftables table, and the host's forwarding switch.

Nothing of the host's rules is touched. Forwarding is one switch for the whole host: the first
instance remembers what it was, the last one sets it back.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from bex_stack.embedded import disk
from bex_stack.embedded import instance as instances

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
SHARED_DIR = Path("/run/bex")
"""Gone after a reboot, as the switch's earlier value is."""
_COMMAND_SECONDS = 10


class FirewallError(RuntimeError):
    """nft refused the instance's rules."""


def render_table(instance: instances.Instance) -> str:
    """Rules that replace the instance's table in one transaction.

    Machines and pods may ask the host for the API server, images and names, and reach the outside
    under the host's address; nobody outside reaches them, and they reach no link-local address
    (where clouds keep their machines' credentials).
    """
    bridge = instance.bridge
    inside = f"{{ {instance.network}, {instance.pod_network} }}"
    return f"""\
table ip {instance.table}
delete table ip {instance.table}
table ip {instance.table} {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != "{bridge}" return
    ct state established,related accept
    ip saddr != {inside} drop
    tcp dport {{ {instances.API_PORT}, {instance.registry_port}, {instances.DNS_PORT} }} accept
    udp dport {instances.DNS_PORT} accept
    icmp type echo-request accept
    drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{bridge}" ip saddr != {inside} drop
    iifname "{bridge}" ip daddr 169.254.0.0/16 drop
    iifname "{bridge}" accept
    oifname "{bridge}" ct state established,related accept
    oifname "{bridge}" drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {inside} oifname != "{bridge}" masquerade
  }}
}}
"""


def ensure(instance: instances.Instance) -> None:
    """Put the instance's rules in place and switch forwarding on."""
    _nft(render_table(instance))
    with disk.locked(SHARED_DIR / "lock"):
        users = disk.ensure_dir(SHARED_DIR / "users")
        if not any(users.iterdir()):
            disk.ensure_file(SHARED_DIR / "ip_forward", FORWARDING.read_text())
        disk.ensure_file(users / instance.name, str(instance.dir))
        if FORWARDING.read_text().strip() != "1":
            FORWARDING.write_text("1")


def exists(instance: instances.Instance) -> bool:
    """Whether the instance's table exists."""
    listed = subprocess.run(
        ["nft", "list", "table", "ip", instance.table],
        capture_output=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    return listed.returncode == 0


def is_in_place(instance: instances.Instance) -> bool:
    """Whether the instance's table exists and the host forwards."""
    return exists(instance) and FORWARDING.read_text().strip() == "1"


def remove(instance: instances.Instance) -> None:
    """Remove the instance's rules; the last instance sets forwarding back."""
    # Declaring the table first makes deleting it no error where it is missing.
    _nft(f"table ip {instance.table}\ndelete table ip {instance.table}\n")
    if not SHARED_DIR.exists():
        return
    with disk.locked(SHARED_DIR / "lock"):
        users = SHARED_DIR / "users"
        (users / instance.name).unlink(missing_ok=True)
        if users.exists() and not any(users.iterdir()):
            earlier = disk.read(SHARED_DIR / "ip_forward")
            if earlier is not None:
                FORWARDING.write_bytes(earlier)
                (SHARED_DIR / "ip_forward").unlink()
            users.rmdir()
        if not users.exists():
            (SHARED_DIR / "lock").unlink(missing_ok=True)
            SHARED_DIR.rmdir()


def _nft(rules: str) -> None:
    try:
        subprocess.run(
            ["nft", "-f", "-"],
            input=rules,
            text=True,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as exc:
        raise FirewallError(f"nft: {exc.stderr.strip()}") from exc
