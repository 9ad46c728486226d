"""Breaks the way to the API server as a plan says: what goes wrong at the how-many-eth place.

A plan is data, so that it can be drawn, shrunk, printed and lived again.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from tests.support.fault_proxy import WRITES, Fault, FaultProxy

SILENT_SECONDS = 3.0

ON_WRITE = {
    "crash": None,
    "held": None,
    "reset": Fault(0),
    "late reset": Fault(0, after=True),
    "conflict": Fault(409, '{"kind":"Status","code":409,"reason":"Conflict","message":"moved"}'),
    "busy": Fault(429, '{"kind":"Status","code":429}', {"Retry-After": "0.05"}),
    "error": Fault(500, '{"kind":"Status","code":500}'),
    "unavailable": Fault(503, "no backend"),
    "late time-out": Fault(504, '{"kind":"Status","code":504}', after=True),
}
"""What may become of a write. The late ones are told after the server has done it; the sender of
one that is held dies, and it reaches the server long after others have gone on."""
ON_EVENT = ("drop", "twice", "swap", "gone", "cut", "silence")
"""What may become of a line of a watch."""
ON_READ = {
    "no answer": Fault(0),
    "expired": Fault(410, '{"kind":"Status","code":410,"reason":"Expired"}'),
    "no read": Fault(503, "no backend"),
}
"""What may become of a question: a list, a watch that begins, a single object."""
_GONE = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n'


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong."""

    kind: str
    number: int
    """At which write or question, or at which event that a watch tells, from 1."""


@dataclass
class Saboteur:
    """Counts what passes, and does what the plan says."""

    proxy: FaultProxy
    plan: Sequence[Trouble]
    writes: int = 0
    reads: int = 0
    events: int = 0
    """Lines that told something for the first time."""
    crashed: asyncio.Event = field(default_factory=asyncio.Event)
    delivered: asyncio.Event = field(default_factory=asyncio.Event)
    """To be set once what is held may go on."""
    beginnings: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each operator has asked for everything of a kind."""
    held: str | None = None
    """What is held, if anything is."""
    _told: set[Any] = field(default_factory=set)
    _kept: dict[str, bytes] = field(default_factory=dict)
    """Lines that wait for the next one of their kind."""

    def choose(self, request: web.Request) -> Fault | None:
        """Decide on a request."""
        if self.crashed.is_set():
            return Fault(0)
        if request.path.endswith("/events"):
            return None
        if request.method not in WRITES:
            self.reads += 1
            if {"sendInitialEvents", "limit"} & request.query.keys():
                self.beginnings[request.headers["User-Agent"], request.path] += 1
            return ON_READ.get(self._due(self.reads, ON_READ))
        self.writes += 1
        kind = self._due(self.writes, ON_WRITE)
        if kind in {"crash", "held"}:
            self.crashed.set()
        if kind == "held":
            self.held = f"{request.method} {request.path}"
            return Fault(until=self.delivered)
        return Fault(0, after=True) if kind == "crash" else ON_WRITE.get(kind)

    def edit(self, line: bytes) -> bytes | None:
        """Decide on a line of a watch."""
        event = orjson.loads(line)
        told_of = str(event["object"].get("kind"))
        kind = self._due(self.events, ON_EVENT) if self._is_news(event) else ""
        if kind == "drop":
            return None
        if kind == "twice":
            return line + line
        if kind == "gone":
            return _GONE
        if kind == "swap":
            kept, self._kept[told_of] = self._kept.get(told_of), line
            return kept
        if kind == "cut":
            self.proxy.reset_watches()
        if kind == "silence":
            self.proxy.frozen.set()
            asyncio.get_running_loop().call_later(SILENT_SECONDS, self.proxy.frozen.clear)
        return line + self._kept.pop(told_of, b"")

    def _is_news(self, event: Any) -> bool:
        """Count what is told for the first time; bookmarks and what is told anew do not count."""
        metadata = event["object"].get("metadata", {})
        news = (event["type"] == "DELETED", metadata.get("uid"), metadata.get("resourceVersion"))
        if event["type"] == "BOOKMARK" or news in self._told:
            return False
        self._told.add(news)
        self.events += 1
        return True

    def _due(self, number: int, kinds_of: Mapping[str, Any] | Sequence[str]) -> str:
        for trouble in self.plan:
            if trouble.number == number and trouble.kind in kinds_of:
                return trouble.kind
        return ""
