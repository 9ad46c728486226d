"""The registry of local and hetzner as configured: both processes of a real Zot on one folder.

Not part of the suite: `make check-zot ZOT=PROGRAM` names the program; nothing that this project
builds from contains it.
"""

import base64
import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest

from bex_operator.plan import tokens
from bex_operator.registry import entry, errors
from components.dynamic import signing_keys
from components.manifests import zot
from tests.support import oci, places
from tests.support.waiting import wait_until

MINE, OTHERS = "builds/mine", "builds/others"
PUSHER, PULLER = "what pushes", "what machines pull with"


@dataclass(frozen=True)
class Running:
    """Where both answer, and what signs."""

    people: str
    builds: str
    private: bytes

    def held(self, *, key: bytes = b"", seconds: int = 600) -> tokens.Pass:
        """What a build of an App is given."""
        endpoint = self.builds.removeprefix("http://")
        return tokens.of_build(
            key or self.private, endpoint, MINE, expires=int(time.time()) + seconds
        )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Both processes, with the rendered configurations and nothing but places changed."""
    folder = tmp_path_factory.mktemp("zot")
    private, public = signing_keys.make()
    (folder / "signer.pem").write_text(public)
    users = {zot.PUSHER: PUSHER, zot.PULLER: PULLER}
    hashed = {name: bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)) for name, word in users.items()}
    (folder / "htpasswd").write_text("".join(f"{n}:{h.decode()}\n" for n, h in hashed.items()))
    ports = places.free_ports(2)
    with contextlib.ExitStack() as stack:
        for port, made in zip(
            ports, (zot.configuration(), zot.builds_configuration()), strict=True
        ):
            made["http"] |= {"address": "127.0.0.1", "port": str(port)}
            text = zot.text(made).replace("/secret/", f"{folder}/").replace(zot.ROOT, f"{folder}/d")
            file = folder / f"{port}.json"
            file.write_text(text)
            stack.enter_context(_serving(file, folder / f"{port}.log"))
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for url in urls:
            wait_until(lambda url=url: _answers(url), f"{url} answers", 60.0)  # type: ignore[misc]
        yield Running(urls[0], urls[1], private.encode())


@contextlib.contextmanager
def _serving(file: Path, log: Path) -> Iterator[None]:
    program = os.environ["ZOT"]
    subprocess.run([program, "verify", str(file)], check=True, capture_output=True, timeout=60)
    with (
        log.open("wb") as out,
        subprocess.Popen([program, "serve", str(file)], stdout=out, stderr=out) as process,
    ):
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def _answers(url: str) -> bool:
    asked = ["curl", "-sf", f"{url}/livez"]
    return subprocess.run(asked, capture_output=True, timeout=10, check=False).returncode == 0


def basic(user: str, word: str) -> str:
    """Spell a name and a password as a client does."""
    return "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()


@pytest.mark.parametrize(
    ("which", "method", "path", "status"),
    [
        ("push", "POST", f"/v2/{MINE}/image/blobs/uploads/", 202),
        ("push", "POST", f"/v2/{MINE}/cache/blobs/uploads/", 202),
        ("push", "POST", f"/v2/{OTHERS}/image/blobs/uploads/", 401),
        ("push", "POST", "/v2/library/python/blobs/uploads/", 401),
        ("push", "GET", f"/v2/{OTHERS}/image/manifests/1", 401),
        ("push", "DELETE", f"/v2/{MINE}/image/manifests/1", 401),
        ("push", "GET", "/v2/_catalog", 401),
        ("pull", "GET", "/v2/library/python/manifests/1", 404),
        ("pull", "GET", "/v2/bex/scanner/manifests/1", 404),
        ("pull", "GET", f"/v2/{MINE}/cache/manifests/1", 404),
        ("pull", "GET", f"/v2/{MINE}/image/manifests/1", 401),
        ("pull", "GET", f"/v2/{OTHERS}/cache/manifests/1", 401),
        ("pull", "POST", f"/v2/{MINE}/cache/blobs/uploads/", 401),
        ("none", "GET", "/v2/library/python/manifests/1", 401),
    ],
)
async def test_credential_opens_what_a_step_needs_and_nothing_else(
    running: Running, which: str, method: str, path: str, status: int
) -> None:
    """The same as on the registry of the embedded stack."""
    token = "" if which == "none" else getattr(running.held(), which)
    async with oci.Client(running.builds, token) as pod:
        answer = await pod.ask(method, path)

    assert answer.status == status, answer.body


async def test_credentials_are_proven_before_a_build(running: Running) -> None:
    """Good ones pass; another signer's, and old ones, are refused."""
    await entry.prove(running.held())

    stranger, _ = signing_keys.make()
    for bad in (running.held(key=stranger.encode()), running.held(seconds=-60)):
        with pytest.raises(errors.Refused):
            await entry.prove(bad)


async def test_machines_pull_what_a_build_pushed_and_nobody_else_does(running: Running) -> None:
    """Through the other process, at once; not without the machines' password."""
    async with oci.Client(running.builds, running.held().push) as build:
        digest = await build.push_image(f"{MINE}/image", "one", [b"layer"])
    path = f"/v2/{MINE}/image/manifests/{digest}"
    seen = {}
    for name in ("", basic(zot.PULLER, PULLER), basic(zot.PULLER, "guessed")):
        async with oci.Client(running.people, authorization=name) as machine:
            seen[name] = (await machine.ask("GET", path, Accept=oci.MANIFEST)).status
            if name == basic(zot.PULLER, PULLER):
                assert await machine.is_whole(f"{MINE}/image", digest)

    assert list(seen.values()) == [401, 200, 401]


async def test_platforms_images_are_pushed_with_a_password_and_read_without(
    running: Running,
) -> None:
    """By people, by machines, and by builds with their tokens."""
    async with oci.Client(running.people, authorization=basic(zot.PUSHER, PUSHER)) as person:
        digest = await person.push_image("library/python", "3", [b"python"])
    for authorization in ("", basic(zot.PULLER, PULLER)):
        async with oci.Client(running.people, authorization=authorization) as reader:
            assert await reader.is_whole("library/python", digest)
            refused = await reader.ask("POST", "/v2/library/python/blobs/uploads/")

            assert refused.status in {401, 403}
    async with oci.Client(running.builds, running.held().pull) as build:
        assert await build.is_whole("library/python", digest)
