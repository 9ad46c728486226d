"""A cache of one kind: what there is, then what changes, for ever; changes are told to listeners.

It survives closed, reset and silent watches, forgotten versions (410) and a server whose history
went back. Own writes are put in, so that a decision never rests on what we ourselves made stale.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from bex_operator.kube import client, errors, kinds, stores, transport

Object = dict[str, Any]
Key = stores.Key
"""Namespace (empty if there is none) and name."""
Listener = Callable[["Change"], None]

FIRST_RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 10.0

GRAVES = 1000
ECHOES = 1000
_INITIAL_END = "k8s.io/initial-events-end"
_log = structlog.get_logger(__name__)


class Change:
    """What became of one object; an object that is new or gone lacks one side."""

    __slots__ = ("_before", "after", "initial", "key")

    def __init__(
        self, key: Key, before: stores.Entry | None, after: Object | None, *, initial: bool
    ) -> None:
        self.key = key
        self._before = before
        self.after = after
        self.initial = initial
        """It was found being there, not seen happening."""

    @property
    def before(self) -> Object | None:
        """The object as it was; read only when somebody asks."""
        return self._before.read() if self._before is not None else None

    @property
    def is_new_or_gone(self) -> bool:
        """Tell whether one side is missing."""
        return (self._before is None) is not (self.after is None)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a cache trusts its watch."""

    silence_seconds: float = transport.SILENCE_SECONDS
    """One that says nothing for so long is dead."""
    watch_seconds: int = 1800
    """After so long everything is asked for anew: a net under events that never came."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects a cache holds."""

    kind: kinds.Kind
    namespace: str | None = None
    labels: str | None = None
    slim: Callable[[Object], Object] | None = None
    """Cuts an object down to what is needed of it."""
    parsed: int = stores.PARSED
    """How many objects stay parsed; for who reads them all at every change: all."""
    optional: bool = False
    """While the server does not know the kind there are none; the cache counts as filled."""


class Cache:
    """Objects of one kind, kept current by `run`."""

    def __init__(
        self,
        kube: client.Client,
        scope: Scope,
        *,
        patience: Patience = Patience(),
    ) -> None:
        self.scope = scope
        self.patience = patience
        """To be changed before `run` only."""
        self.synced = asyncio.Event()
        """Set once everything that there is has been told."""
        self.lag_seconds = 0.0
        """How long the watch took to tell of the last own write that it told of."""
        self._kube = kube
        self._store = stores.Store(scope.parsed)
        self._seen = 0
        """Newest version that the list or watch has told of; own writes up to it are history."""
        self._awaited: tuple[int, float] | None = None
        """Version of an own write that the watch has not told of, and when it was made."""
        self._written: dict[int, None] = {}
        """Versions of own writes whose echo may still come in the watch that is open."""
        self._learning = True
        """What comes is all there is, not only news."""
        self._graves: dict[Key, int] = {}
        """At which version the last objects went: what is told of them later is history."""
        self._listeners: list[Listener] = []
        self._streams = True
        """The server tells what there is by a watch; if not, pages are listed."""

    def __len__(self) -> int:
        return len(self._store)

    def listen(self, listener: Listener) -> None:
        """Call *listener* after every change, on the event loop; it must not block."""
        self._listeners.append(listener)

    def index(self, name: str, keys_of: Callable[[Object], Iterable[str]]) -> None:
        """Keep an index; must be asked for before `run`."""
        self._store.index(name, keys_of)

    def get(self, namespace: str, name: str) -> Object | None:
        """Return an object; it must not be changed."""
        return self._store.get((namespace, name))

    def by_index(self, index: str, value: str) -> list[Object]:
        """Return the objects that the index has under *value*, in order of their keys."""
        return self._store.under(index, value)

    def tally(self, index: str) -> dict[str, int]:
        """Count the objects under each value of the index, without reading any."""
        return self._store.tally(index)

    @property
    def seen(self) -> int:
        """Everything up to this version has been told."""
        return self._seen

    def told_of(self, namespace: str, name: str) -> int:
        """Return the newest version that anything of the name has or ended in; 0 if unknown."""
        key = namespace, name
        entry = self._store.entry(key)
        return max(entry.version if entry is not None else 0, self._graves.get(key, 0))

    def keys(self) -> list[Key]:
        """Return the keys of everything there is."""
        return list(self._store)

    def __contains__(self, key: Key) -> bool:
        return self._store.entry(key) is not None

    def put(self, written: Object, *, quiet: bool = True) -> None:
        """Take in what a write of ours answered, unless the watch has passed it already.

        Not *quiet* when the answer may hold news by others: its echo in the watch tells nobody.
        """
        version = stores.version_of(written)
        if version > self._seen:
            if self._awaited is None:
                self._awaited = version, time.monotonic()
            self._take(written, quiet=quiet)
            self._written[version] = None
            while len(self._written) > ECHOES:
                del self._written[next(iter(self._written))]

    def drop(self, namespace: str, name: str) -> None:
        """Forget an object that the API server says is gone, and tell: nobody heard of its end."""
        self._remove((namespace, name))

    async def run(self) -> None:
        """Learn what there is, and watch, until cancelled."""
        pause, by_pages = FIRST_RETRY_SECONDS, False
        while True:
            before, began = self._seen, time.monotonic()
            learn = self._list if by_pages or not self._streams else self._stream
            # Where watches break on the way, every other try does without one.
            by_pages = not by_pages
            try:
                if await learn():
                    by_pages = False
                    await self._follow()
            except errors.KubeError as exc:
                _log.warning("cache.retry", kind=self.scope.kind.kind, error=str(exc)[:300])
                if self.scope.optional and isinstance(exc, errors.NotFound):
                    self.synced.set()
            # One that was long at peace is asked for anew at once: meanwhile nobody looks.
            if self._seen != before or time.monotonic() - began > pause:
                pause = FIRST_RETRY_SECONDS
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(pause * 2, MAX_RETRY_SECONDS)

    async def _stream(self) -> bool:
        """Learn what there is from a watch that begins with it, and go on with that watch.

        False if not everything was told, and has to be asked for again.
        """
        known: set[Key] = set()
        events = self._watch(None)
        try:
            async with contextlib.aclosing(events):
                async for event in events:
                    if event.type == "BOOKMARK":
                        # Another than the one that ends the beginning: that one was lost.
                        complete = _ends_beginning(event.object) and self._is_complete(
                            known, stores.version_of(event.object)
                        )
                        if complete:
                            await self._follow_events(events)
                        return complete
                    self._take_event(event, initial=True)
                    if "metadata" in event.object:
                        here = event.type != "DELETED"
                        (known.add if here else known.discard)(stores.key_of(event.object))
        except (errors.Invalid, errors.BadRequest) as refused:
            _log.info("cache.pages", kind=self.scope.kind.kind, why=str(refused)[:200])
            self._streams = False
        return False

    async def _list(self) -> bool:
        """Learn what there is page by page; False if it has to be asked for again."""
        known: set[Key] = set()
        version = 0
        pages = self._kube.pages(self.scope.kind, self.scope.namespace, labels=self.scope.labels)
        async with contextlib.aclosing(pages):
            async for page in pages:
                version = int(page.resource_version or 0)
                for item in page.items:
                    known.add(stores.key_of(item))
                    self._take(item, initial=True)
        return self._is_complete(known, version)

    def _is_complete(self, known: set[Key], version: int) -> bool:
        """Forget what is not *known* at *version*; False if all that was told must be told anew."""
        if version < self._seen:
            # A restored server: everything we hold may be of a future that never was.
            _log.warning("cache.rewound", kind=self.scope.kind.kind, version=version)
            self._store.forget_versions()
            self._graves.clear()
            self._seen = version
            return False
        for key in [key for key in self._store if key not in known]:
            entry = self._store.entry(key)
            if entry is not None and entry.version <= version:
                self._remove(key, initial=True)
        self._pass(version)
        self._learning = False
        self.synced.set()
        return True

    async def _follow(self) -> None:
        """Watch on where a watch ended; return when asking for everything is wiser."""
        trusted_until = time.monotonic() + self.patience.watch_seconds / 2
        while time.monotonic() < trusted_until:
            before = self._seen
            events = self._watch(str(self._seen))
            async with contextlib.aclosing(events):
                ended = await self._follow_events(events)
            if not ended and self._seen == before:
                return
            await asyncio.sleep(FIRST_RETRY_SECONDS)

    async def _follow_events(self, events: AsyncIterator[client.Event]) -> bool:
        """Take events in until the watch ends; False if it broke."""
        try:
            async for event in events:
                self._take_event(event)
        except errors.Unreachable as exc:
            _log.info("cache.watch_lost", kind=self.scope.kind.kind, error=str(exc)[:300])
            return False
        return True

    def _watch(self, version: str | None) -> AsyncGenerator[client.Event, None]:
        # Another server may count anew from an older version.
        self._written.clear()
        self._learning = version is None
        return self._kube.watch(
            self.scope.kind,
            self.scope.namespace,
            resource_version=version,
            labels=self.scope.labels,
            timeout_seconds=self.patience.watch_seconds,
            silence_seconds=self.patience.silence_seconds,
            known=self._is_echo,
        )

    def _is_echo(self, version: int) -> bool:
        """Tell whether a write of ours made this version: then it is here already."""
        if self._learning or version not in self._written:
            return False
        del self._written[version]
        self._pass(version)
        return True

    def _take_event(self, event: client.Event, *, initial: bool = False) -> None:
        if "metadata" not in event.object:
            raise errors.Unreachable(f"a watch event without an object: {event.type[:20]!r}")
        version = stores.version_of(event.object)
        if event.type in {"ADDED", "MODIFIED"}:
            self._take(event.object, initial=initial)
        elif event.type == "DELETED":
            key = stores.key_of(event.object)
            self._bury(key, version)
            kept = self._store.entry(key)
            if kept is not None and kept.version <= version:
                self._remove(key)
        if not initial:
            self._pass(version)

    def _bury(self, key: Key, version: int) -> None:
        self._graves[key] = max(version, self._graves.pop(key, 0))
        while len(self._graves) > GRAVES:
            del self._graves[next(iter(self._graves))]

    def _pass(self, version: int) -> None:
        self._seen = max(self._seen, version)
        if self._awaited is not None and self._awaited[0] <= self._seen:
            self.lag_seconds = time.monotonic() - self._awaited[1]
            self._awaited = None

    def _take(self, item: Object, *, initial: bool = False, quiet: bool = False) -> None:
        key, version = stores.key_of(item), stores.version_of(item)
        kept = self._store.entry(key)
        if version <= self._graves.get(key, 0):
            return
        if kept is not None:
            same = kept.uid == str(item["metadata"].get("uid"))
            if version < kept.version or (version == kept.version and same):
                return
        slim = self.scope.slim(item) if self.scope.slim else item
        slim["metadata"].pop("managedFields", None)
        before = self._store.put(key, slim, used=not initial)
        if not quiet:
            self._tell(Change(key, before, slim, initial=initial))

    def _remove(self, key: Key, *, initial: bool = False) -> None:
        before = self._store.pop(key)
        if before is not None:
            self._tell(Change(key, before, None, initial=initial))

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)


def _ends_beginning(bookmark: Object) -> bool:
    annotations = (bookmark.get("metadata") or {}).get("annotations") or {}
    return annotations.get(_INITIAL_END) == "true"
