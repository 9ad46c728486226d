"""A cache of one kind: list, then watch, for ever; what changes is told to whoever listens.

It survives closed, reset and silent watches, forgotten versions (410) and a server whose history
went back. Own writes are put in, so that a decision never rests on what we ourselves made stale.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from bex_operator.kube import client, errors, kinds, transport

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty if there is none) and name."""
Listener = Callable[["Change"], None]

FIRST_RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 10.0
WATCH_SECONDS = 300

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one object; an object that is new or gone lacks one side."""

    key: Key
    before: Object | None
    after: Object | None
    initial: bool
    """It was found by a list, not seen happening."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects a cache holds."""

    kind: kinds.Kind
    namespace: str | None = None
    labels: str | None = None
    slim: Callable[[Object], Object] | None = None
    """Cuts an object down to what is needed of it."""


class Cache:
    """Objects of one kind, kept current by `run`."""

    def __init__(
        self,
        kube: client.Client,
        scope: Scope,
        *,
        silence_seconds: float = transport.SILENCE_SECONDS,
    ) -> None:
        self.scope = scope
        self.synced = asyncio.Event()
        """Set once the first list is in."""
        self._kube = kube
        self._silence_seconds = silence_seconds
        self._objects: dict[Key, Object] = {}
        self._seen = 0
        """Newest version that the list or watch has told of; own writes up to it are history."""
        self._listeners: list[Listener] = []
        self._indexes: dict[str, _Index] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def listen(self, listener: Listener) -> None:
        """Call *listener* after every change, on the event loop; it must not block."""
        self._listeners.append(listener)

    def index(self, name: str, keys_of: Callable[[Object], Iterator[str]]) -> None:
        """Keep an index; must be asked for before `run`."""
        self._indexes[name] = _Index(keys_of)

    def get(self, namespace: str, name: str) -> Object | None:
        """Return an object; it must not be changed."""
        return self._objects.get((namespace, name))

    def by_index(self, index: str, value: str) -> list[Object]:
        """Return the objects that the index has under *value*, in order of their keys."""
        return [self._objects[key] for key in sorted(self._indexes[index].keys(value))]

    def keys(self) -> list[Key]:
        """Return the keys of everything there is."""
        return list(self._objects)

    def put(self, written: Object, *, quiet: bool = True) -> None:
        """Take in what a write of ours answered, unless the watch has passed it already.

        Not *quiet* when the answer may hold news by others: its echo in the watch tells nobody.
        """
        if _version(written) > self._seen:
            self._store(self._cut(written), quiet=quiet)

    def drop(self, namespace: str, name: str) -> None:
        """Forget an object that the API server says is gone."""
        self._remove((namespace, name), quiet=True)

    async def run(self) -> None:
        """List and watch until cancelled."""
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._list()
                pause = FIRST_RETRY_SECONDS
                await self._follow()
            except errors.Gone:
                continue
            except errors.KubeError as exc:
                _log.warning("cache.retry", kind=self.scope.kind.kind, error=str(exc)[:300])
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                pause = min(pause * 2, MAX_RETRY_SECONDS)

    async def _list(self) -> None:
        found = await self._kube.list(
            self.scope.kind, self.scope.namespace, labels=self.scope.labels
        )
        version = int(found.resource_version or 0)
        if version < self._seen:
            # A restored server: everything we hold may be of a future that never was.
            _log.warning("cache.rewound", kind=self.scope.kind.kind, version=version)
            self._objects_become_history()
        self._seen = version
        current = {_key(item) for item in found.items}
        for key in [key for key in self._objects if key not in current]:
            if _version(self._objects[key]) <= version:
                self._remove(key, initial=True)
        for item in found.items:
            self._store(self._cut(item), initial=True)
        self.synced.set()

    async def _follow(self) -> None:
        """Watch, and watch on where a watch ended; return when listing again is wiser."""
        while True:
            before = self._seen
            events = self._kube.watch(
                self.scope.kind,
                self.scope.namespace,
                resource_version=str(self._seen),
                labels=self.scope.labels,
                timeout_seconds=WATCH_SECONDS,
                silence_seconds=self._silence_seconds,
            )
            try:
                async with contextlib.aclosing(events):
                    await self._take_in(events)
            except errors.Unreachable as exc:
                _log.info("cache.watch_lost", kind=self.scope.kind.kind, error=str(exc)[:300])
                if self._seen == before:
                    return
                await asyncio.sleep(FIRST_RETRY_SECONDS)

    async def _take_in(self, events: AsyncIterator[client.Event]) -> None:
        async for event in events:
            if "metadata" not in event.object:
                raise errors.Unreachable(f"a watch event without an object: {event.type[:20]!r}")
            version = _version(event.object)
            if event.type in {"ADDED", "MODIFIED"}:
                self._store(self._cut(event.object))
            elif event.type == "DELETED":
                kept = self._objects.get(_key(event.object))
                if kept is not None and _version(kept) <= version:
                    self._remove(_key(event.object))
            self._seen = max(self._seen, version)

    def _store(self, item: Object, *, initial: bool = False, quiet: bool = False) -> None:
        key = _key(item)
        before = self._objects.get(key)
        if before is not None:
            same = before["metadata"].get("uid") == item["metadata"].get("uid")
            old, new = _version(before), _version(item)
            if new < old or (new == old and same):
                return
            self._unindex(key, before)
        self._objects[key] = item
        for index in self._indexes.values():
            index.add(key, item)
        if not quiet:
            self._tell(Change(key, before, item, initial))

    def _remove(self, key: Key, *, initial: bool = False, quiet: bool = False) -> None:
        before = self._objects.pop(key, None)
        if before is not None:
            self._unindex(key, before)
            if not quiet:
                self._tell(Change(key, before, None, initial))

    def _unindex(self, key: Key, item: Object) -> None:
        for index in self._indexes.values():
            index.remove(key, item)

    def _objects_become_history(self) -> None:
        for item in self._objects.values():
            item["metadata"] = item["metadata"] | {"resourceVersion": "0"}

    def _cut(self, item: Object) -> Object:
        item["metadata"].pop("managedFields", None)
        return self.scope.slim(item) if self.scope.slim else item

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)


class _Index:
    """Keys of objects under each value that *keys_of* finds in them."""

    def __init__(self, keys_of: Callable[[Object], Iterator[str]]) -> None:
        self._keys_of = keys_of
        self._found: dict[str, set[Key]] = {}

    def keys(self, value: str) -> set[Key]:
        return self._found.get(value, set())

    def add(self, key: Key, item: Object) -> None:
        for value in self._keys_of(item):
            self._found.setdefault(value, set()).add(key)

    def remove(self, key: Key, item: Object) -> None:
        for value in self._keys_of(item):
            keys = self._found.get(value)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._found[value]


def _key(item: Object) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _version(item: Object) -> int:
    return int(item["metadata"].get("resourceVersion") or 0)
