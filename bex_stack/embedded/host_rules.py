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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bex_stack.embedded import instance as instances

_COMMAND_SECONDS = 60
_FAMILIES = ("ip", "inet")
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
    for chain in _chains():
        if chain.drops and not _handles(chain, instance):
            for direction in _DIRECTIONS[chain.hook]:
                rule = f'{direction} "{instance.bridge}" counter accept'
                _nft("insert", "rule", chain.place, rule, f'comment "{_mark(instance)}"')


def are_in_place(instance: instances.Instance) -> bool:
    """Whether `ensure` would change nothing."""
    return all(_handles(chain, instance) for chain in _chains() if chain.drops)


def remove(instance: instances.Instance) -> None:
    """Take the instance's rules out of every chain, whatever its policy is by now."""
    for chain in _chains():
        for handle in _handles(chain, instance):
            _nft("delete", "rule", chain.place, "handle", str(handle))


def _chains() -> Iterator[Chain]:
    for each in _listed("chain", "list", "chains"):
        known = each.get("family") in _FAMILIES and each.get("type") == "filter"
        if known and each.get("hook") in _DIRECTIONS:
            drops = each.get("policy") == "drop"
            yield Chain(each["family"], each["table"], each["name"], each["hook"], drops)


def _handles(chain: Chain, instance: instances.Instance) -> list[int]:
    """Handles of the instance's rules in *chain*."""
    rules = _listed("rule", "--handle", "list", "chain", chain.place)
    return [int(rule["handle"]) for rule in rules if rule.get("comment") == _mark(instance)]


def _mark(instance: instances.Instance) -> str:
    return f"bex:{instance.name}"


def _listed(kind: str, *arguments: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(_nft("--json", *arguments))
    except FileNotFoundError:  # without nft on the host nobody made a chain
        return []
    return [item[kind] for item in document["nftables"] if kind in item]


def _nft(*arguments: str) -> str:
    words = [word for argument in arguments for word in argument.split()]
    try:
        done = subprocess.run(
            ["nft", *words], capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=True
        )
    except subprocess.CalledProcessError as exc:
        raise HostRulesError(f"nft {' '.join(arguments)}: {exc.stderr.strip()}") from exc
    return done.stdout
