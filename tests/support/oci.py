"""A small client of the OCI distribution API for tests: says what was asked and what came back."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest_of(content: bytes) -> str:
    """`sha256:…`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a registry answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """Speaks to the registry at *url*; use as `async with`."""

    def __init__(self, url: str, token: str = "", *, authorization: str = "") -> None:
        self.url = url
        given = f"Bearer {token}" if token else authorization
        self._headers = {"Authorization": given} if given else {}
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(headers=self._headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Answer:
        """Send one request; header names are written with underscores."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        address = path if path.startswith("http") else f"{self.url}{path}"
        content = None if body is None else io.BytesIO(body)
        async with self._http.request(method, address, data=content, headers=named) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def push_blob(self, repository: str, content: bytes) -> str:
        """Upload a blob unless it is there, as builders do; return its digest."""
        digest = digest_of(content)
        found = await self.ask("HEAD", f"/v2/{repository}/blobs/{digest}")
        if found.status != 200:
            started = await self.ask("POST", f"/v2/{repository}/blobs/uploads/")
            place = started.headers["Location"]
            joint = "&" if "?" in place else "?"
            ended = await self.ask("PUT", f"{place}{joint}digest={digest}", content)
            assert ended.status == 201, ended
        return digest

    async def push_image(
        self, repository: str, reference: str, layers: Sequence[bytes], **more: Any
    ) -> str:
        """Push an image layer by layer and its manifest last; return its digest."""
        described = []
        for content in layers:
            digest = await self.push_blob(repository, content)
            described.append({"mediaType": LAYER, "digest": digest, "size": len(content)})
        config = json.dumps({"rootfs": {"type": "layers", "diff_ids": []}}).encode()
        entry = {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)}
        await self.push_blob(repository, config)
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": entry, "layers": described}
        return await self.push_manifest(repository, reference, {**body, **more})

    async def push_manifest(self, repository: str, reference: str, body: Mapping[str, Any]) -> str:
        """Push a manifest under a tag; under its digest if *reference* is empty."""
        content = json.dumps(body).encode()
        named = reference or digest_of(content)
        kind = {"Content_Type": str(body["mediaType"])}
        made = await self.ask("PUT", f"/v2/{repository}/manifests/{named}", content, **kind)
        assert made.status == 201, made
        return digest_of(content)

    async def is_whole(self, repository: str, digest: str) -> bool:
        """Whether a manifest and all that it names can be pulled."""
        return not await self.flaw(repository, digest)

    async def flaw(self, repository: str, digest: str) -> str:
        """What of a manifest, and of all that it names, cannot be pulled, and why; empty if all."""
        path = f"/v2/{repository}/manifests/{digest}"
        found = await self.ask("GET", path, Accept=f"{MANIFEST}, {INDEX}")
        if found.status != 200:
            return f"manifest {digest}: {found.status} {found.body[:300]!r}"
        body = json.loads(found.body)
        for part in body.get("manifests", ()):
            if flaw := await self.flaw(repository, part["digest"]):
                return flaw
        blobs = [*body.get("layers", ()), *([body["config"]] if "config" in body else ())]
        for blob in blobs:
            pulled = await self.ask("GET", f"/v2/{repository}/blobs/{blob['digest']}")
            if pulled.status != 200 or digest_of(pulled.body) != blob["digest"]:
                return f"blob {blob['digest']}: {pulled.status} {pulled.body[:300]!r}"
        return ""
