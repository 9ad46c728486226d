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
    (port,) = places.free_ports(1)
    program = toolchain.ensure(["registry"]).path("registry")
    arguments = [f"-root={tmp_path / 'images'}", f"-listen=127.0.0.1:{port}"]
    with subprocess.Popen(["setpriv", "--pdeathsig", "KILL", str(program), *arguments]) as process:
        try:
            wait_until(functools.partial(_listens, port), f"the registry listens on port {port}")
            yield Registry(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True
