"""Keeps Apps from the platform's Secrets. Of a Secret only its metadata is asked for, by name.

It is asked anew at every reconcile: a cache of Secrets would need the right to list them all.
"""

import asyncio
from collections.abc import Collection

from bex_operator.api import app
from bex_operator.kube import client, errors, kinds
from bex_operator.plan import protection, reports

CONCURRENT = 8


class Guard:
    """Looks at the Secrets that an App names."""

    def __init__(self, kube: client.Client, own: Collection[str]) -> None:
        self._kube = kube
        self._own = frozenset(own)
        """Names of Secrets that are the platform's in every namespace."""
        self._turns = asyncio.Semaphore(CONCURRENT)

    async def check(self, wanted: app.App, namespace: str) -> reports.Refusal | None:
        """Say why the App is refused; None if it names nothing that is not its."""
        named = protection.references(wanted)
        own = sorted(self._own & named.keys())
        if own or not named:
            return protection.refusal(named, own)
        try:
            results = await asyncio.gather(*(self._is_protected(namespace, each) for each in named))
        except _Unreadable as unreadable:
            return protection.unreadable(namespace, unreadable.name)
        found = [name for name, protected in zip(named, results, strict=True) if protected]
        return protection.refusal(named, found)

    async def _is_protected(self, namespace: str, name: str) -> bool:
        async with self._turns:
            try:
                secret = await self._kube.get_metadata(kinds.SECRET, name, namespace)
            except errors.NotFound:
                return False
            except errors.Forbidden as forbidden:
                raise _Unreadable(name) from forbidden
        return protection.is_protected(secret)


class _Unreadable(Exception):
    """The operator may not look at the Secret."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name
