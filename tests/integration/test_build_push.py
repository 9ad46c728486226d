"""The last step of a build against a registry that fails: what is pushed is whole, or is not."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bex_stack.embedded import oci_layout, toolchain
from tests.support import oci
from tests.support.image_registry import MANIFEST, Registry, registry

__all__ = ["registry"]
PLATFORM_FAULT = 91
Answer = Callable[[web.Request, bytes], web.Response | bytes | None]
"""Answers instead of the registry, or changes the body on its way; None lets it pass."""


@dataclass
class Way:
    """What lies between the step and the registry."""

    url: str
    upstream: str
    answer: Answer = lambda _, __: None
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something arrived that is held back."""
    holds: bool = False
    """Keep what is uploaded from arriving."""

    async def handle(self, request: web.Request) -> web.Response:
        """Pass a request on, unless the test has other plans."""
        body = await request.read()
        if self.holds and _uploads(request):
            self.held.set()
            await asyncio.Event().wait()
        made = self.answer(request, body)
        if isinstance(made, web.Response):
            return made
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                self.upstream + request.path_qs,
                data=body if made is None else made,
                headers={**request.headers, "Host": request.host},
            ) as answer,
        ):
            return web.Response(
                status=answer.status, body=await answer.read(), headers=answer.headers
            )


def _uploads(request: web.Request) -> bool:
    return request.method in {"PATCH", "PUT"} and "/blobs/uploads/" in request.path


@contextlib.asynccontextmanager
async def leading_to(registry: Registry) -> AsyncIterator[Way]:
    """Stand before a registry."""
    application = web.Application(client_max_size=2**24)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    way = Way("", registry.url)
    application.router.add_route("*", "/{path:.*}", way.handle)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    way.url = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield way
    finally:
        await runner.cleanup()


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An image that a build left."""
    folder = tmp_path / "image"
    oci_layout.write(oci_layout.Image(files={"/app": b"an app"}), folder)
    return folder


async def start(layout: Path, way: Way, *more: str) -> asyncio.subprocess.Process:
    """Start the step."""
    program = toolchain.ensure(["bex-build"]).path("bex-build")
    return await asyncio.create_subprocess_exec(
        program,
        "push",
        f"--result={layout.parent / 'told.json'}",
        f"--from={layout}",
        f"--image={way.url}/builds/app/image:tag",
        "--insecure=true",
        *more,
    )


async def push(layout: Path, way: Way) -> tuple[int, dict[str, Any]]:
    """Run the step to its end; return its exit code and what it told."""
    process = await start(layout, way)
    code = await asyncio.wait_for(process.wait(), 120)
    return code, json.loads((layout.parent / "told.json").read_text())


async def tagged(registry: Registry) -> str | None:
    """The digest that the tag leads to."""
    url = f"{registry.url}/v2/builds/app/image/manifests/tag"
    async with (
        aiohttp.ClientSession() as session,
        session.head(url, headers={"Accept": MANIFEST}) as answer,
    ):
        return answer.headers["Docker-Content-Digest"] if answer.status == 200 else None


async def test_upload_that_fails_twice_is_tried_again(layout: Path, registry: Registry) -> None:
    """A registry that stumbles costs seconds, not a build."""
    left = 2

    def stumble(request: web.Request, _: bytes) -> web.Response | None:
        nonlocal left
        if not _uploads(request) or left == 0:
            return None
        left -= 1
        return web.Response(status=500)

    async with leading_to(registry) as way:
        way.answer = stumble
        code, told = await push(layout, way)

    assert (code, left) == (0, 0)
    assert await tagged(registry) == told["digest"]


@pytest.mark.parametrize("fault", ["500", "other bytes"])
async def test_upload_that_never_arrives_is_the_platforms_fault(
    layout: Path, registry: Registry, fault: str
) -> None:
    """Nobody blames the repository, and no tag leads to half an image."""

    def spoil(request: web.Request, body: bytes) -> web.Response | bytes | None:
        if not _uploads(request):
            return None
        return web.Response(status=500) if fault == "500" else b"x" * len(body)

    async with leading_to(registry) as way:
        way.answer = spoil
        code, told = await push(layout, way)

    assert (code, told["fault"]) == (PLATFORM_FAULT, "platform")
    assert "could not be pushed" in told["message"]
    assert await tagged(registry) is None


async def test_killed_push_is_made_good_by_the_next(layout: Path, registry: Registry) -> None:
    """What the first left in the middle is no hindrance, and no tag led there."""
    async with leading_to(registry) as way:
        way.holds = True
        process = await start(layout, way)
        await asyncio.wait_for(way.held.wait(), 120)
        process.kill()
        await process.wait()
        between = await tagged(registry)
        way.holds = False
        code, told = await push(layout, way)

    assert (between, code) == (None, 0)
    assert await tagged(registry) == told["digest"]


async def test_layers_of_a_base_image_are_linked(tmp_path: Path, registry: Registry) -> None:
    """The cache lists them, and a build can pull them with it; nobody has to send them again."""
    layout, cache = tmp_path / "image", tmp_path / "cache"
    oci_layout.write(oci_layout.Image(files={"/app": b"an app"}), layout)
    oci_layout.write(oci_layout.Image(files={"/base": b"a base" * 99}), cache)
    (manifest,) = json.loads((cache / "index.json").read_text())["manifests"]
    (layer,) = json.loads(_blob(cache, manifest["digest"]).read_text())["layers"]
    async with oci.Client(registry.url) as host:
        await host.push_blob("library/base", _blob(cache, layer["digest"]).read_bytes())
        _blob(cache, layer["digest"]).write_text("library/base")
        to = registry.url.removeprefix("http://")
        way = Way(to, registry.url)
        more = (f"--cache-from={cache}", f"--cache-to={to}/builds/app/cache:latest")
        process = await start(layout, way, *more)
        code = await asyncio.wait_for(process.wait(), 120)
        flaw = await host.flaw("builds/app/cache", manifest["digest"])

    assert (code, flaw) == (0, "")


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
