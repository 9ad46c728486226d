"""A snapshot of everything a stack could leave on the host, to compare before and after."""

import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

from pyroute2 import IPRoute, netns


@dataclass(frozen=True)
class Footprint:
    """What is there of one instance."""

    processes: frozenset[str]
    namespaces: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    tables: frozenset[str]
    claims: frozenset[str]
    """That the host forward packets: shared by all instances, set back by the last."""
    files: frozenset[str]

    def added_since(self, before: "Footprint") -> dict[str, object]:
        """What is there now and was not before."""
        added: dict[str, object] = {
            field.name: getattr(self, field.name) - getattr(before, field.name)
            for field in fields(self)
        }
        return {name: found for name, found in added.items() if found}


def observe(instance: str, *folders: Path) -> Footprint:
    """Look for everything named after *instance*, and for files in *folders*."""
    with IPRoute() as routes:
        links = {link.get("ifname"): link["index"] for link in routes.get_links()}
        owned = {i for name, i in links.items() if _is_named_after(instance, str(name))}
        ways = {str(r.get("dst")) for r in routes.get_routes(family=2) if r.get("oif") in owned}
    return Footprint(
        processes=frozenset(_processes(instance)),
        namespaces=frozenset(n for n in netns.listnetns() if n.startswith(f"{instance}-")),
        links=frozenset(name for name in map(str, links) if _is_named_after(instance, name)),
        routes=frozenset(ways),
        mounts=frozenset(
            line.split()[4]
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if f"/{instance}/" in line or f"/{instance}-" in line
        ),
        cgroups=frozenset(
            str(path)
            for pattern in (f"{instance}", f"*/{instance}")
            for path in Path("/sys/fs/cgroup").glob(pattern)
        ),
        tables=frozenset(
            line
            for line in subprocess.run(
                ["nft", "list", "tables"], capture_output=True, text=True, check=True
            ).stdout.splitlines()
            if line.endswith(f" {instance}")
        ),
        claims=frozenset(str(path) for path in Path("/run/bex/users").glob(instance)),
        files=frozenset(
            str(path) for folder in folders if folder.exists() for path in folder.rglob("*")
        ),
    )


def _is_named_after(instance: str, link: str) -> bool:
    return link == f"{instance}0" or link.startswith(f"{instance}-")


def _processes(instance: str) -> set[str]:
    found = set()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"BEX_INSTANCE={instance}\0".encode() in environment.read_bytes():
                found.add(f"{environment.parent.name} {_command(environment.parent)}")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def _command(process: Path) -> str:
    return process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
