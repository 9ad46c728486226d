"""Objects in memory, kept as bytes: a parsed one takes four times as much, and few are looked at.

The last ones looked at stay parsed, so that one reconcile pays once for each.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty if there is none) and name."""
KeysOf = Callable[[Object], Iterable[str]]

PARSED = 32
"""How many objects stay parsed: a few for each of the ten workers."""


class Entry:
    """One object: its bytes, and what is needed of it without reading them."""

    __slots__ = ("content", "indexed", "uid", "version")

    def __init__(self, item: Object, indexed: tuple[tuple[str, ...], ...]) -> None:
        # A copy: what orjson returns keeps the room it wrote in, several times what it wrote.
        self.content = bytes(memoryview(orjson.dumps(item)))
        self.version = version_of(item)
        self.uid = str(item["metadata"].get("uid"))
        self.indexed = indexed
        """Under which values it stands, index by index."""

    def read(self) -> Object:
        """Parse it anew."""
        return orjson.loads(self.content)  # type: ignore[no-any-return]


class Store:
    """Entries by key, with indexes. Not thread-safe: one event loop owns it."""

    def __init__(self, parsed: int = PARSED) -> None:
        self._limit = parsed
        self._entries: dict[Key, Entry] = {}
        self._parsed: dict[Key, Object] = {}
        self._readers: dict[str, KeysOf] = {}
        self._found: dict[str, dict[str, set[Key]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._entries)

    def index(self, name: str, keys_of: KeysOf) -> None:
        """Keep an index of what *keys_of* finds in an object; before the first `put`."""
        self._readers[name], self._found[name] = keys_of, {}

    def entry(self, key: Key) -> Entry | None:
        """Return an object's entry."""
        return self._entries.get(key)

    def get(self, key: Key) -> Object | None:
        """Return an object; it must not be changed."""
        parsed = self._parsed.get(key)
        if parsed is None and (entry := self._entries.get(key)) is not None:
            parsed = entry.read()
            self._keep(key, parsed)
        return parsed

    def under(self, index: str, value: str) -> list[Object]:
        """Return the objects that the index has under *value*, in order of their keys."""
        keys = self._found[index].get(value)
        if not keys:
            return []
        found = [self.get(key) for key in (sorted(keys) if len(keys) > 1 else keys)]
        return [each for each in found if each is not None]

    def tally(self, index: str) -> dict[str, int]:
        """Count the objects under each value of the index; none is parsed for it."""
        return {value: len(keys) for value, keys in self._found[index].items()}

    def put(self, key: Key, item: Object, *, used: bool) -> Entry | None:
        """Keep an object; return what was there before. One that is *used* now stays parsed."""
        before = self._entries.get(key)
        indexed = tuple(tuple(read(item)) for read in self._readers.values())
        entry = Entry(item, indexed)
        self._entries[key if before else _interned(key)] = entry
        self._parsed.pop(key, None)
        if used:
            self._keep(key, item)
        if before is None or before.indexed != indexed:
            self._unindex(key, before)
            self._index(key, entry)
        return before

    def pop(self, key: Key) -> Entry | None:
        """Forget an object; return what was there."""
        before = self._entries.pop(key, None)
        self._parsed.pop(key, None)
        self._unindex(key, before)
        return before

    def forget_versions(self) -> None:
        """Take everything for older than whatever comes."""
        for entry in self._entries.values():
            entry.version = 0

    def _keep(self, key: Key, parsed: Object) -> None:
        while len(self._parsed) >= self._limit:
            del self._parsed[next(iter(self._parsed))]
        self._parsed[key] = parsed

    def _index(self, key: Key, entry: Entry) -> None:
        for found, values in zip(self._found.values(), entry.indexed, strict=True):
            for value in values:
                found.setdefault(value, set()).add(key)

    def _unindex(self, key: Key, entry: Entry | None) -> None:
        if entry is None:
            return
        for found, values in zip(self._found.values(), entry.indexed, strict=True):
            for value in values:
                keys = found.get(value, set())
                keys.discard(key)
                if not keys:
                    found.pop(value, None)


def key_of(item: Object) -> Key:
    """Read an object's key."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def version_of(item: Object) -> int:
    """Read an object's resourceVersion; 0 if it has none."""
    return int(item["metadata"].get("resourceVersion") or 0)


def _interned(key: Key) -> Key:
    """An App and its children share their names: once in memory is enough."""
    return sys.intern(key[0]), sys.intern(key[1])
