"""The instance's own nftables table, and its way through chains of the host that drop.

Nothing else of the host's rules is touched.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from bex_stack.embedded import build_network, disk, host_rules, registry
from bex_stack.embedded import instance as instances

_COMMAND_SECONDS = 60


class FirewallError(RuntimeError):
    """nft refused the instance's rules."""


def render_table(instance: instances.Instance) -> str:
    """Rules that replace the instance's table in one transaction.

    Machines and pods may ask the host for the API server, names and repositories, and reach the
    outside under the host's address; nobody outside reaches them, and they reach no link-local
    address (where clouds keep their machines' credentials). Images are for machines only: the
    registry takes pushes from everybody, and a pod could put its own code into others' images. Pods
    with a token get what it says at the registry's guarded port. Where a repository is at the
    host, as `bex:innerNetworks` says, its port is open to them, too.
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
    tcp dport {{ {instances.API_PORT}, {instances.DNS_PORT} }} accept
    ip saddr {instance.network} tcp dport {instance.registry_port} accept
    tcp dport {{ {registry.GUARDED_PORT}, {instances.GIT_PORT} }} accept
{build_network.open_inner(instance)}    udp dport {instances.DNS_PORT} accept
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
    """Put the instance's rules in place."""
    rules = render_table(instance)
    _nft(rules)
    host_rules.ensure(instance)
    disk.ensure_file(_record(instance), rules)


def exists(instance: instances.Instance) -> bool:
    """Whether the instance's table exists."""
    try:
        listed = subprocess.run(
            ["nft", "list", "table", "ip", instance.table],
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except FileNotFoundError:  # without nft on the host nobody made a table
        return False
    return listed.returncode == 0


def is_in_place(instance: instances.Instance) -> bool:
    """Whether the instance's table exists as of today's rules, and no chain of the host drops."""
    is_current = disk.read(_record(instance)) == render_table(instance).encode()
    return is_current and exists(instance) and host_rules.are_in_place(instance)


def remove(instance: instances.Instance) -> None:
    """Remove the instance's rules."""
    host_rules.remove(instance)
    # Declaring the table first makes deleting it no error where it is missing.
    _nft(f"table ip {instance.table}\ndelete table ip {instance.table}\n")


def _record(instance: instances.Instance) -> Path:
    return instance.etc_dir / "rules.nft"


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
