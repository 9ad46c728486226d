"""A made-up Hetzner Cloud API on loopback: real HTTP, a project that remembers, faults on demand.

Checked with the official client in `tests/bex_stack/hetzner/test_fake.py`.
"""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from tests.support import hetzner_catalog as catalog
from tests.support import hetzner_deeds as deeds
from tests.support import hetzner_makers as makers
from tests.support.hetzner_state import SINGULAR, STATUSES, Project, Refused

TOKEN = "t0" * 32
READ_ONLY_TOKEN = "r0" * 32
LIMIT = 3600
RESET = 1_800_000_000
"""When the budget is whole again, as the API says it: seconds since 1970."""
PER_PAGE, MOST_PER_PAGE = 25, 50


@dataclass(slots=True)
class Fault:
    """What goes wrong with some requests."""

    method: str
    path: str
    """A pattern of the path below `/v1`."""
    code: str
    """An error of the API, `hang` (no answer while the server lives) or `drop` (no answer)."""
    times: int = 1
    after: int = 0
    """How many such requests go well first."""


@dataclass(slots=True)
class Hetzner:
    """The API with its one project."""

    project: Project = field(default_factory=Project)
    remaining: int = LIMIT
    """Requests left in this hour."""
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of what was asked, in order."""
    url: str = ""

    def fail(self, method: str, path: str, code: str, *, times: int = 1, after: int = 0) -> None:
        """Let requests fail; the first fault that fits counts."""
        self.faults.append(Fault(method, path, code, times, after))

    def seed(self, kind: str, **body: Any) -> dict[str, Any]:
        """Put something into the project as if it had been made long ago."""
        defaults: dict[str, dict[str, Any]] = {
            "servers": {"server_type": "cx33", "image": "ubuntu-24.04", "location": "fsn1"},
            "networks": {"ip_range": "10.0.0.0/16"},
            "load_balancers": {"load_balancer_type": "lb11", "location": "fsn1"},
            "placement_groups": {"type": "spread"},
            "ssh_keys": {"public_key": f"ssh-ed25519 {body.get('name')}"},
            "volumes": {"size": 10, "location": "fsn1"},
            "primary_ips": {"type": "ipv4", "location": "fsn1"},
            "floating_ips": {"type": "ipv4"},
        }
        made = makers.create(self.project, kind, {**defaults.get(kind, {}), **body})
        thing: dict[str, Any] = made[SINGULAR[kind]]
        if kind == "servers":
            thing["status"] = "running"
        return thing

    def snapshot(self, description: str, **labels: str) -> dict[str, Any]:
        """Put a snapshot into the project; it has no name, as none has."""
        blank = catalog.image("ubuntu-24.04", 0)
        del blank["id"]
        own = {"type": "snapshot", "name": None, "description": description, "labels": labels}
        return self.project.add("images", {**blank, **own})

    def labels_of(self, kind: str) -> dict[str, dict[str, str]]:
        """Names and labels of what is there."""
        return {each["name"]: each["labels"] for each in self.project.things[kind].values()}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        path = request.path.removeprefix("/v1")
        self.requests.append((request.method, path))
        if (code := self._fault(request.method, path)) is not None:
            if code in ("hang", "drop"):
                return await _silence(request, code)
            return self._refuse(Refused(code, f"made up: {code}"))
        try:
            self._let_in(request)
            self.project.tick()
            status, answer = await self._route(request, path)
        except Refused as refused:
            return self._refuse(refused)
        return self._reply(status, answer)

    def _let_in(self, request: web.Request) -> None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in (TOKEN, READ_ONLY_TOKEN):
            raise Refused("unauthorized", "unable to authenticate")
        if self.remaining <= 0:
            raise Refused("rate_limit_exceeded", f"limit of {LIMIT} requests per hour reached")
        self.remaining -= 1
        if token == READ_ONLY_TOKEN and request.method != "GET":
            raise Refused("token_readonly", "token is only allowed to perform GET requests")

    async def _route(self, request: web.Request, path: str) -> tuple[int, Any]:
        if path == "/pricing":
            return 200, {"pricing": catalog.pricing()}
        kind, *rest = path.strip("/").split("/")
        if kind == "actions" and rest:
            return 200, {"action": _by_id(self.project.actions, rest[0])}
        if kind not in SINGULAR:
            raise Refused("not_found", f"no such path: {path}")
        if request.method == "GET":
            return 200, self._read(request, kind, rest)
        return self._write(request.method, kind, rest, await _body(request))

    def _read(self, request: web.Request, kind: str, rest: list[str]) -> dict[str, Any]:
        match rest:
            case []:
                return self._page(request, kind)
            case ["actions", number]:
                return {"action": _by_id(self.project.actions, number)}
            case [number]:
                return {SINGULAR[kind]: _by_id(self.project.things[kind], number)}
        raise Refused("not_found", f"no such path: {request.path}")

    def _write(self, method: str, kind: str, rest: list[str], body: Any) -> tuple[int, Any]:
        if (method, rest) == ("POST", []):
            return 201, makers.create(self.project, kind, body)
        thing = _by_id(self.project.things[kind], rest[0] if rest else "")
        match (method, rest[1:]):
            case ("PUT", []):
                return 200, deeds.change(self.project, kind, thing, body)
            case ("DELETE", []):
                answer = deeds.delete(self.project, kind, thing)
                return (200, answer) if answer else (204, None)
            case ("POST", ["actions", command]):
                return 201, deeds.act(self.project, kind, thing, command, body)
        raise Refused("not_found", f"no such path: {method} {kind} {rest}")

    def _page(self, request: web.Request, kind: str) -> dict[str, Any]:
        query = request.query
        found = self.project.select(kind, query, several=lambda key: query.getall(key, []))
        page, size = int(query.get("page", 1)), int(query.get("per_page", PER_PAGE))
        if not 1 <= size <= MOST_PER_PAGE or page < 1:
            raise Refused("invalid_input", f"per_page must be 1 to {MOST_PER_PAGE}")
        last = max(1, -(-len(found) // size))
        meta = {
            "page": page,
            "per_page": size,
            "previous_page": page - 1 if page > 1 else None,
            "next_page": page + 1 if page < last else None,
            "last_page": last,
            "total_entries": len(found),
        }
        shown = found[(page - 1) * size : page * size]
        return {kind: shown, "meta": {"pagination": meta}}

    def _fault(self, method: str, path: str) -> str | None:
        for fault in self.faults:
            if fault.method == method and re.fullmatch(fault.path, path) and fault.times:
                if fault.after:
                    fault.after -= 1
                    return None
                fault.times -= 1
                return fault.code
        return None

    def _refuse(self, refused: Refused) -> web.Response:
        error = {"code": refused.code, "message": refused.message, "details": refused.details}
        return self._reply(STATUSES[refused.code], {"error": error})

    def _reply(self, status: int, answer: Any) -> web.Response:
        headers = {
            "RateLimit-Limit": str(LIMIT),
            "RateLimit-Remaining": str(max(0, self.remaining)),
            "RateLimit-Reset": str(RESET),
            "X-Correlation-Id": f"made-up-{self.project.clock}",
        }
        if answer is None:
            return web.Response(status=status, headers=headers)
        return web.json_response(answer, status=status, headers=headers)


async def _body(request: web.Request) -> Any:
    return await request.json() if request.can_read_body else {}


def _by_id(held: dict[int, dict[str, Any]], number: str) -> dict[str, Any]:
    if not number.isdecimal() or int(number) not in held:
        raise Refused("not_found", f"resource with ID {number!r} not found")
    return held[int(number)]


async def _silence(request: web.Request, code: str) -> web.StreamResponse:
    if code == "hang":
        await asyncio.Event().wait()
    if request.transport is not None:
        request.transport.abort()
    raise asyncio.CancelledError


@contextmanager
def serve() -> Iterator[Hetzner]:
    """Serve an empty project, on a thread of its own: the official client blocks."""
    api = Hetzner()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        runner = asyncio.run_coroutine_threadsafe(_start(api), loop).result(60)
        yield api
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


async def _start(api: Hetzner) -> web.ServerRunner:
    runner = web.ServerRunner(web.Server(api.answer, handler_cancellation=True))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    api.url = f"http://{host}:{port}/v1"
    return runner


@pytest.fixture
def hetzner() -> Iterator[Hetzner]:
    """An empty project behind its API."""
    with serve() as api:
        yield api
