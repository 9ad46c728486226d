"""The real registry on loopback, and images of nothing to put into it."""

import functools
import hashlib
import json
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from bex_stack.embedded import toolchain
from tests.support import places
from tests.support.waiting import wait_until

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry and where it answers."""

    url: str
    folder: Path
    """Where it keeps what it has."""
    guarded_url: str
    """Where it lets in holders of tokens only."""
    key: Path
    """What they are signed with."""

    async def push(self, repository: str, tag: str, content: str) -> str:
        """Push an image without layers; *content* makes its digest, which is returned."""
        config = json.dumps({"author": content, "rootfs": {"type": "layers", "diff_ids": []}})
        blob = f"sha256:{hashlib.sha256(config.encode()).hexdigest()}"
        described = {"mediaType": CONFIG, "digest": blob, "size": len(config)}
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": []}
        )
        async with aiohttp.ClientSession(base_url=self.url, raise_for_status=True) as session:
            async with session.post(f"/v2/{repository}/blobs/uploads/") as started:
                location = started.headers["Location"]
            path = location.removeprefix(self.url)
            async with session.put(path, params={"digest": blob}, data=config.encode()):
                pass
            async with session.put(
                f"/v2/{repository}/manifests/{tag}",
                data=manifest.encode(),
                headers={"Content-Type": MANIFEST},
            ):
                pass
        return f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """An empty registry."""
    port, guarded = places.free_ports(2)
    program = toolchain.ensure(["registry"]).path("registry")
    folder, key = tmp_path / "images", tmp_path / "registry.key"
    key.write_text("k" * 64)
    arguments = [
        f"-root={folder}",
        f"-listen=127.0.0.1:{port}",
        f"-listen-guarded=127.0.0.1:{guarded}",
        f"-token-key={key}",
    ]
    with subprocess.Popen(["setpriv", "--pdeathsig", "KILL", str(program), *arguments]) as process:
        try:
            for each in (port, guarded):
                wait_until(functools.partial(_listens, each), f"the registry listens on {each}")
            assert process.poll() is None, "somebody else listens there"
            yield Registry(f"http://127.0.0.1:{port}", folder, f"http://127.0.0.1:{guarded}", key)
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True
