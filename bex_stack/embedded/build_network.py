"""The network of pods that build: one of their own on each machine, from which only the outside is
reached, names, and what builds need of the host.

Steps of Dockerfiles are anybody's code, with rights over their pod's own network. So what they may
reach is said by the machine, by the link that packets come from, before any address is translated.
"""

from __future__ import annotations

import ipaddress
import subprocess
from typing import Any

from bex_stack.embedded import instance as instances
from bex_stack.embedded import registry
from components.manifests import builds as manifests

RUNTIME_CLASS = "bex-builds"
HANDLER = "builds"
"""What containerd calls the way such pods are run."""
LINK = "builds0"
"""The bridge of such pods on a machine."""
CNI_FOLDER = "/etc/cni/builds.d"
_TABLE = "bex-builds"
_COMMAND_SECONDS = 60


class BuildNetworkError(RuntimeError):
    """nft refused a machine's rules."""


def conflist(instance: instances.Instance, slot: int) -> dict[str, Any]:
    """CNI 1.0.0: pods that reach their gateway, and not each other."""
    bridge = {
        "type": "bridge",
        "bridge": LINK,
        "isGateway": True,
        "portIsolation": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": instance.build_cidr(slot)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"cniVersion": "1.0.0", "name": HANDLER, "plugins": [bridge]}


def runtime_class() -> dict[str, Any]:
    """Render what pods name to be put there (node.k8s.io/v1 RuntimeClass)."""
    return {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": RUNTIME_CLASS},
        "handler": HANDLER,
    }


def render_table(instance: instances.Instance, slot: int) -> str:
    """Rules that replace the table of a machine in one transaction.

    Refused at once rather than dropped: a step that asks in vain should not wait for it.
    """
    host = instance.bridge_address
    names = f"{{ {host}, {instances.DNS_SERVICE_ADDRESS} }}"
    # The instance's own networks may lie outside of what is set aside for private ones.
    inner = [ipaddress.IPv4Network(each) for each in manifests.INNER_NETWORKS]
    inner += [instance.network, instance.pod_network, instances.SERVICE_NETWORK]
    merged = ", ".join(str(each) for each in ipaddress.collapse_addresses(inner))
    return f"""\
table inet {_TABLE}
delete table inet {_TABLE}
table inet {_TABLE} {{
  chain from_builds {{
    type filter hook prerouting priority raw; policy accept;
    iifname != "{LINK}" return
    meta nfproto ipv6 drop
    ip saddr != {instance.build_cidr(slot)} drop
    ip daddr {names} meta l4proto {{ tcp, udp }} th dport {instances.DNS_PORT} accept
    ip daddr {host} tcp dport {{ {registry.GUARDED_PORT}, {instances.GIT_PORT} }} accept
{open_inner(instance)}    ip daddr {{ {merged} }} reject with icmp type admin-prohibited
  }}
  chain to_builds {{
    type filter hook forward priority filter; policy accept;
    oifname != "{LINK}" return
    ct state established,related accept
    drop
  }}
}}
"""


def open_inner(instance: instances.Instance) -> str:
    """Rules that let pass what goes to inner addresses of repositories."""
    asked = (manifests.read_inner_network(each) for each in instance.inner)
    return "".join(f"    ip daddr {a.network} tcp dport {a.port} accept\n" for a in asked)


def apply_here(rules: str) -> None:
    """Put the rules in place in the network namespace of this thread.

    Raises: BuildNetworkError.
    """
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
        raise BuildNetworkError(f"nft: {exc.stderr.strip()}") from exc


def is_in_place_here() -> bool:
    """Whether the network namespace of this thread has such a table."""
    listed = subprocess.run(
        ["nft", "list", "table", "inet", _TABLE],
        capture_output=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    return listed.returncode == 0
