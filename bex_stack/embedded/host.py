"""Deeds on the host that everything of an instance stands on: supervisor, network, rules, keys."""

from __future__ import annotations

from bex_stack.embedded import firewall, host_switches, identities, network, supervision
from bex_stack.embedded import instance as instances


def ensure(instance: instances.Instance) -> None:
    """Let the instance's supervisor, bridge, firewall and keys exist.

    Raises: supervision.SupervisionError, network.NetworkError, firewall.FirewallError.
    """
    supervision.ensure_running(instance)
    if instance.kind == "real":
        network.ensure_bridge(instance)
        host_switches.ensure(instance)
        if not firewall.is_in_place(instance):
            firewall.ensure(instance)
    identities.ensure_control_plane(instance)


def unsettled(instance: instances.Instance) -> list[str]:
    """What `ensure` would mend, in words."""
    found = []
    if not supervision.is_running(instance):
        found.append("the supervisor does not run")
    if instance.kind == "real" and not _has_network(instance):
        found.append("the host's network or firewall is not set up")
    if not identities.is_current(instance.pki_dir):
        found.append("the cluster's certificates have to be renewed")
    return found


def _has_network(instance: instances.Instance) -> bool:
    return (
        network.has_bridge(instance) and host_switches.are_on() and firewall.is_in_place(instance)
    )
