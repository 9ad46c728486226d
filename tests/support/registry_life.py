"""A registry's life as Apps give it: pushes, deploys, rollbacks and deletions from a seed."""

import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from bex_operator.api import images
from bex_operator.plan import collection
from tests.support import oci

KEPT_RELEASES = 10
KEPT_BUILDS = 4
BASE_LAYERS = tuple(f"base layer {number} ".encode() * 4000 for number in range(5))


@dataclass
class Life:
    """One App's: what was built for it, and what it ran."""

    uid: str
    builds: list[str] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)
    running: int = 0
    """Builds under way."""

    @property
    def repository(self) -> str:
        """Where its images lie."""
        return f"builds/{self.uid}/image"


class World:
    """What the cluster would say, and everything that happens to it."""

    def __init__(self, client: oci.Client, folder: Path, seed: int) -> None:
        self.client = client
        self.random = random.Random(seed)  # noqa: S311 - the same life each time
        self.apps: dict[str, Life] = {}
        self._blobs = folder / "docker/registry/v2/blobs/sha256"
        self._sending: dict[str, int] = {}
        self._count = 0

    def facts(self) -> collection.Facts:
        """What may not go: as an operator reads it from Apps, Jobs, releases and pods."""
        named = {digest for app in self.apps.values() for digest in app.builds + app.releases}
        return collection.Facts(
            frozenset(named),
            frozenset(self.apps),
            frozenset(app.uid for app in self.apps.values() if app.running),
        )

    async def act(self) -> None:
        """Do something that people or the operator do."""
        what = self.random.choices(
            (self.push, self.deploy, self.roll_back, self.delete), weights=(12, 5, 3, 1)
        )[0]
        await what()

    async def push(self) -> None:
        """Build an image of layers that others may have, too; now and then one from before."""
        app = self._some_app()
        number = self.random.randrange(max(1, self._count - 5), self._count + 2)
        self._count += 1
        content = f"{app.uid} {number} ".encode() * 3000
        layers = [self.random.choice(BASE_LAYERS), f"shared {number % 7} ".encode() * 2000, content]
        config = b'{"rootfs": {"type": "layers", "diff_ids": []}}'
        sent = [oci.digest_of(each) for each in (*layers, config)]
        app.running += 1
        for digest in sent:
            self._sending[digest] = self._sending.get(digest, 0) + 1
        try:
            image = await self.client.push_image(app.repository, "", layers)
            made = await self._index(app.repository, f"job-{number}", image)
            app.builds = [*(each for each in app.builds if each != made), made][-KEPT_BUILDS:]
        finally:
            app.running -= 1
            for digest in sent:
                self._sending[digest] -= 1

    async def _index(self, repository: str, tag: str, image: str) -> str:
        """Put an image into an index, as BuildKit does with what it says about it."""
        listed = {"mediaType": oci.MANIFEST, "digest": image, "size": 1}
        body = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [listed]}
        return await self.client.push_manifest(repository, tag, body)

    async def deploy(self) -> None:
        """Release the newest build of an App."""
        app = self._some_app()
        if app.builds:
            app.releases = [*app.releases, app.builds[-1]][-KEPT_RELEASES:]

    async def roll_back(self) -> None:
        """Release what was released before; it has to be there, all of it."""
        app = self._some_app()
        if app.releases:
            image = self.random.choice(app.releases)
            assert await self.client.is_whole(app.repository, image), f"{app.repository}@{image}"
            if app.uid in self.apps and image in app.releases:
                app.releases = [*app.releases, image][-KEPT_RELEASES:]

    async def delete(self) -> None:
        """Delete an App that builds nothing."""
        app = self._some_app()
        if not app.running:
            del self.apps[app.uid]

    async def missing(self) -> list[str]:
        """What an App needs and cannot pull. Nothing may be collected meanwhile."""
        wanted = {
            (app.repository, digest)
            for app in self.apps.values()
            for digest in app.builds + app.releases
        }
        return [
            f"{repository}@{digest}"
            for repository, digest in sorted(wanted)
            if not await self.client.is_whole(repository, digest)
        ]

    def let_hours_pass(self) -> None:
        """Make everything old but what is being pushed: no push takes that long."""
        old = time.time() - 2 * images.GRACE_SECONDS
        for file in self._blobs.glob("*/*/data"):
            if not self._sending.get(f"sha256:{file.parent.name}"):
                os.utime(file, (old, old))

    def bytes_of(self) -> int:
        """How much the blobs take."""
        return sum(file.stat().st_size for file in self._blobs.glob("*/*/data"))

    def _some_app(self) -> Life:
        if len(self.apps) < 2 or (len(self.apps) < 8 and self.random.random() < 0.1):
            uid = f"uid-{self.random.getrandbits(48):x}"
            self.apps[uid] = Life(uid)
        return self.random.choice(list(self.apps.values()))
