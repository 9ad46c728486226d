"""A registry's life as Apps give it: pushes, deploys, rollbacks and deletions from a seed.

What an operator would write is written to a real API server, from where it is read again by whoever
decides what may go. What must be there is remembered here, apart from that.
"""

import asyncio
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bex_operator import api
from bex_operator.api import images, names
from bex_operator.kube import client, kinds
from bex_operator.plan import artefacts, build_jobs, build_outcomes
from tests.support import build_jobs as playing
from tests.support import oci

KEPT_RELEASES = 10
KEPT_BUILDS = 4
BASE_LAYERS = tuple(f"base layer {number} ".encode() * 4000 for number in range(5))
_REPO = "https://git.example.com/team/web"


@dataclass
class Life:
    """One App's: what was built for it, and what it ran. Jobs and revisions by name."""

    name: str
    uid: str
    builds: dict[str, str] = field(default_factory=dict)
    releases: dict[str, str] = field(default_factory=dict)
    running: int = 0
    """Builds under way."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """An operator never works twice on one App at a time."""

    @property
    def repository(self) -> str:
        """Where its images lie."""
        return f"{images.BUILDS}{self.uid}/{images.IMAGE}"


class World:
    """A cluster's Apps, and everything that happens to them."""

    def __init__(
        self, pusher: oci.Client, kube: client.Client, namespace: str, folder: Path, seed: int
    ) -> None:
        self.random = random.Random(seed)  # noqa: S311 - the same life each time
        self.apps: dict[str, Life] = {}
        self.done: Counter[str] = Counter()
        """How many actions came to their end, and did what they are called."""
        self._pusher = pusher
        self._kube = kube
        self._namespace = namespace
        self._platform = playing.platform(namespace)
        self._blobs = folder / "docker/registry/v2/blobs/sha256"
        self._sending: dict[str, int] = {}
        self._count = 0

    async def act(self) -> None:
        """Do something that people or the operator do."""
        what = self.random.choices(
            (self.push, self.deploy, self.roll_back, self.delete), weights=(12, 5, 3, 1)
        )[0]
        did = await what(await self._some_app())
        self.done[what.__name__ if did else "nothing"] += 1

    async def push(self, app: Life) -> bool:
        """Build an image of layers that others may have, too; now and then one from before."""
        self._count += 1
        number = self.random.randrange(max(1, self._count - 6), self._count + 1)
        content = f"{app.uid} {number} ".encode() * 3000
        layers = [self.random.choice(BASE_LAYERS), f"shared {number % 7} ".encode() * 2000, content]
        app.running += 1
        try:
            job = await self._begin(app, f"job-{self._count}")
            digest = await self._send(app, job, layers)
            async with app.turn:
                await self._note(job, digest)
                app.builds[job] = digest
                for old in list(app.builds)[:-KEPT_BUILDS]:
                    del app.builds[old]
                    await self._kube.delete(kinds.JOB, old, self._namespace)
        finally:
            app.running -= 1
        return True

    async def _begin(self, app: Life, job: str) -> str:
        source = artefacts.source_of(api.App(name=app.name, repo=_REPO, port=8080))
        assert isinstance(source, artefacts.Repository)
        order = build_jobs.Order(
            job=job,
            app=app.name,
            namespace=self._namespace,
            uid=app.uid,
            source=source,
            commit="a" * 40,
            branch="main",
        )
        manifest = build_jobs.render(order, self._platform)
        await self._kube.create(manifest, field_manager="operator")
        return job

    async def _send(self, app: Life, tag: str, layers: list[bytes]) -> str:
        """Push as the last step of a build does: an image in an index, with a tag of its Job."""
        config = b'{"rootfs": {"type": "layers", "diff_ids": []}}'
        sent = [oci.digest_of(each) for each in (*layers, config)]
        for digest in sent:
            self._sending[digest] = self._sending.get(digest, 0) + 1
        try:
            image = await self._pusher.push_image(app.repository, "", layers)
            listed = {"mediaType": oci.MANIFEST, "digest": image, "size": 1}
            body = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [listed]}
            return await self._pusher.push_manifest(app.repository, tag, body)
        finally:
            for digest in sent:
                self._sending[digest] -= 1

    async def _note(self, job: str, digest: str) -> None:
        outcome = {"state": "Succeeded", "image": f"registry/image@{digest}"}
        noted = {build_outcomes.OUTCOME_ANNOTATION: build_outcomes.encode(outcome)}
        await self._kube.patch(
            kinds.JOB, job, self._namespace, {"metadata": {"annotations": noted}}
        )

    async def deploy(self, app: Life) -> bool:
        """Release the newest build of an App, if it has one."""
        async with app.turn:
            if not app.builds or app.uid not in self.apps:
                return False
            await self._release(app, list(app.builds.values())[-1])
            return True

    async def roll_back(self, app: Life) -> bool:
        """Release what was released before; it has to be there, all of it."""
        async with app.turn:
            earlier = set(list(app.releases.values())[:-1]) - set(list(app.releases.values())[-1:])
            if not earlier or app.uid not in self.apps:
                return False
            image = self.random.choice(sorted(earlier))
            assert await self._pusher.flaw(app.repository, image) == ""
            await self._release(app, image)
            return True

    async def _release(self, app: Life, digest: str) -> None:
        self._count += 1
        made = f"{app.name}-rev-{self._count}"
        revision = {
            **self._described("apps/v1", "ControllerRevision", made),
            "revision": self._count,
            "data": {"imageDigest": digest},
        }
        await self._kube.create(revision, field_manager="operator")
        container = {"name": names.CONTAINER, "image": f"registry/{app.repository}@{digest}"}
        labels = {names.APP_LABEL: app.name}
        pods = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pods}
        deployment = {**self._described("apps/v1", "Deployment", app.name), "spec": spec}
        await self._kube.apply(deployment, field_manager="operator")
        app.releases[made] = digest
        for old in list(app.releases)[:-KEPT_RELEASES]:
            del app.releases[old]
            await self._kube.delete(kinds.CONTROLLER_REVISION, old, self._namespace)

    async def delete(self, app: Life) -> bool:
        """Delete an App that builds nothing."""
        async with app.turn:
            if app.running or self.apps.pop(app.uid, None) is None:
                return False
            await self._remove(app)
            return True

    async def end(self) -> None:
        """Delete every App."""
        for app in list(self.apps.values()):
            await self.delete(app)

    async def _remove(self, app: Life) -> None:
        for kind, found in (
            (kinds.JOB, app.builds),
            (kinds.CONTROLLER_REVISION, app.releases),
            (kinds.DEPLOYMENT, {app.name: ""} if app.releases else {}),
            (kinds.APP, {app.name: ""}),
        ):
            for name in found:
                await self._kube.delete(kind, name, self._namespace)

    async def missing(self) -> list[str]:
        """What an App needs and cannot pull. Nothing may be collected meanwhile."""
        wanted = {
            (app.repository, digest)
            for app in self.apps.values()
            for digest in (*app.builds.values(), *app.releases.values())
        }
        return [
            f"{repository}@{digest}: {flaw}"
            for repository, digest in sorted(wanted)
            if (flaw := await self._pusher.flaw(repository, digest))
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

    async def _some_app(self) -> Life:
        if len(self.apps) < 2 or (len(self.apps) < 8 and self.random.random() < 0.1):
            self._count += 1
            manifest = api.App(name=f"app-{self._count}", repo=_REPO, port=8080)
            made = await self._kube.create(manifest.manifest(self._namespace), field_manager="test")
            uid = made["metadata"]["uid"]
            self.apps[uid] = Life(made["metadata"]["name"], uid)
        return self.random.choice(list(self.apps.values()))

    def _described(self, version: str, kind: str, name: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self._namespace}
        return {"apiVersion": version, "kind": kind, "metadata": metadata}
