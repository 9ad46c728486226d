"""What Docker, machines and Cluster API can leave on a host; asked before and after.

Only what is theirs by name or place: other clusters on this host come and go meanwhile.
"""

import re
import shutil
import subprocess
from pathlib import Path

from bex_stack.embedded import mounts

FOLDERS = (
    *("/etc/docker", "/var/lib/docker", "/var/run/docker", "/var/run/docker.sock"),
    *("/var/lib/kubelet", "/etc/kubernetes", "/etc/cni/net.d"),
)
TEMPORARY = (("/var/tmp", "bex-docker-*"), ("/tmp", "bex-local-*"))  # noqa: S108 - looked at only
_LINKS = re.compile(r"^\d+: ((?:br-|docker|veth)[^:@]*)", re.MULTILINE)
_RULES = re.compile(r"^.*(?:docker|br-[0-9a-f]{12}).*$", re.MULTILINE | re.IGNORECASE)
_OURS = re.compile(r"bex-docker-|bex-local-")
"""Managers are named by their kubeconfig, machines' shims by the engine's folder."""
SECONDS = 60


def found() -> set[str]:
    """Name everything of theirs that is on this host now."""
    return {*_files(), *_network(), *_processes(), *_control_groups()}


def _files() -> set[str]:
    temporary = [path for root, name in TEMPORARY for path in Path(root).glob(name)]
    mounted = [path for root in temporary for path in mounts.below(root)]
    named = [Path(name) for name in FOLDERS if Path(name).exists()]
    return {f"file {path}" for path in (*temporary, *named)} | {f"mount {path}" for path in mounted}


def _network() -> set[str]:
    links = _LINKS.findall(_told("ip", "-oneline", "link"))
    rules = [
        rule
        for command in (("iptables-save",), ("ip6tables-save",), ("nft", "list", "tables"))
        for rule in _RULES.findall(_told(*command))
    ]
    return {f"link {name}" for name in links} | {f"rule {rule}" for rule in rules}


def _processes() -> set[str]:
    listed = _told("ps", "-eo", "pid=,args=").splitlines()
    return {f"process {line.strip()[:200]}" for line in listed if _OURS.search(line)}


def _control_groups() -> set[str]:
    root = Path("/sys/fs/cgroup")
    made = [path for pattern in ("docker/*", "*/docker/*") for path in root.glob(pattern)]
    return {f"control group {path}" for path in made if path.is_dir()}


def _told(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return done.stdout
