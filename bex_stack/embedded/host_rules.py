"""Lets an instance's packets pass chains of the host that drop what nobody told them of.

Docker and ufw set the host's forward (and ufw its input) policy to drop. A packet has to be
accepted by every chain of a hook, so the instance's own table cannot help: one rule per direction
goes to the head of such a chain, marked with a comment. What may really pass is then said by the
instance's own table (`firewall`). They are written as iptables itself writes them, or it would
take the table for damaged.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from bex_stack.embedded import instance as instances

_COMMAND_SECONDS = 60
_FAMILIES = ("ip", "inet")
_GONE = "No such file or directory"
_DIRECTIONS = {"forward": ("iifname", "oifname"), "input": ("iifname",)}


class HostRulesError(RuntimeError):
    """nft refused a rule in a chain of the host."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of the host that packets of an instance come through."""

    family: str
    table: str
    name: str
    hook: str
    drops: bool
    """Whether it drops what no rule of its own accepts."""

    @property
    def place(self) -> str:
        """How nft is told of it."""
        return f"{self.family} {self.table} {self.name}"


def ensure(instance: instances.Instance) -> None:
    """Put the instance's rules at the head of every chain that drops and has none.

    Raises: HostRulesError.
    """
    for chain, handles in _chains(instance):
        if chain.drops and not handles:
            for direction in _DIRECTIONS[chain.hook]:
                rule = f'{direction} "{instance.bridge}" counter accept'
                _change("insert", "rule", chain.place, rule, f'comment "{_mark(instance)}"')


def are_in_place(instance: instances.Instance) -> bool:
    """Whether `ensure` would change nothing."""
    return all(handles for chain, handles in _chains(instance) if chain.drops)


def remove(instance: instances.Instance) -> None:
    """Take the instance's rules out of every chain, whatever its policy is by now."""
    for chain, handles in _chains(instance):
        for handle in handles:
            _change("delete", "rule", chain.place, "handle", str(handle))


def _chains(instance: instances.Instance) -> list[tuple[Chain, list[int]]]:
    """Chains that packets come through, each with the handles of the instance's rules in it.

    Asked for in one go: other instances' chains come and go at any time.
    """
    try:
        items = json.loads(_nft("--json", "--handle", "list", "ruleset"))["nftables"]
    except FileNotFoundError:  # without nft on the host nobody made a chain
        return []
    rules = [item["rule"] for item in items if "rule" in item]
    own = [rule for rule in rules if rule.get("comment") == _mark(instance)]
    found = []
    for chain in (_chain(item["chain"]) for item in items if "chain" in item):
        if chain is not None:
            place = (chain.family, chain.table, chain.name)
            within = [r for r in own if (r["family"], r["table"], r["chain"]) == place]
            found.append((chain, [int(rule["handle"]) for rule in within]))
    return found


def _chain(told: dict[str, Any]) -> Chain | None:
    known = told.get("family") in _FAMILIES and told.get("type") == "filter"
    if not known or told.get("hook") not in _DIRECTIONS:
        return None
    drops = told.get("policy") == "drop"
    return Chain(told["family"], told["table"], told["name"], told["hook"], drops)


def _mark(instance: instances.Instance) -> str:
    return f"bex:{instance.name}"


def _change(*arguments: str) -> None:
    """Change a chain, unless it is gone by now."""
    try:
        _nft(*arguments)
    except HostRulesError as exc:
        if _GONE not in str(exc):
            raise


def _nft(*arguments: str) -> str:
    words = [word for argument in arguments for word in argument.split()]
    try:
        done = subprocess.run(
            ["nft", *words], capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=True
        )
    except subprocess.CalledProcessError as exc:
        raise HostRulesError(f"nft {' '.join(arguments)}: {exc.stderr.strip()}") from exc
    return done.stdout
