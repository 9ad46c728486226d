"""What an App runs: an image as it is written, or what became of its repository.

An image is taken as it stands; its tag is resolved when a release is opened. A repository becomes
an image by a build, and until then what serves goes on.
"""

import posixpath
import re
from dataclasses import dataclass

from bex_operator.api import app, records, status

DEFAULT_BRANCH = "main"


@dataclass(frozen=True, slots=True)
class Prebuilt:
    """An image that somebody else made."""

    image: str


@dataclass(frozen=True, slots=True)
class Repository:
    """What to build, with every default filled in."""

    repo: str
    branch: str
    root_dir: str
    dockerfile_path: str
    """Relative to the root folder."""
    docker_context: str
    """Relative to the root of the repository."""
    builder: str
    clone_secret: str | None
    paths: tuple[str, ...] = ()
    """What a push has to change to be built; nothing named: what the build is made from."""
    ignored_paths: tuple[str, ...] = ()

    @property
    def counting(self) -> tuple[str, ...]:
        """Files and folders that a push has to change to be built, as patterns."""
        if self.paths:
            return self.paths
        dockerfile = posixpath.normpath(posixpath.join(self.root_dir, self.dockerfile_path))
        return tuple(dict.fromkeys((self.root_dir, self.docker_context, dockerfile)))


Source = Prebuilt | Repository


@dataclass(frozen=True, slots=True)
class Ready:
    """There is an image."""

    image: str
    """As in the spec, or by digest as it was built."""
    origin: str | None = None
    """Where a built image comes from, for people: `commit 3f2a1bc of main`."""
    made: records.Made | None = None
    """How it was built."""
    queue: status.Queue | None = None
    """What waits to be built, as far as that is known."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """There will be an image without anybody's help; meanwhile what serves goes on."""

    reason: str
    message: str
    """Holds nothing that moves while the reason stays: each new text is a status written."""
    again_seconds: float | None = None
    """When to ask again; None if the App is woken when there is something new."""
    queue: status.Queue | None = None
    meanwhile: Ready | None = None
    """What was built last of the same source, and is run until then."""


@dataclass(frozen=True, slots=True)
class Failed:
    """There will be no image until somebody changes something; what serves goes on."""

    reason: str
    message: str
    again_seconds: float | None = None
    queue: status.Queue | None = None
    meanwhile: Ready | None = None


Outcome = Ready | Waiting | Failed
_UID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_BUILT = re.compile(rf"(?:^|/)builds/({_UID})/", re.IGNORECASE)
"""Where builds push, whatever the registry is called."""


def source_of(wanted: app.App) -> Source:
    """Read what the App is made from."""
    if wanted.repo is None:
        assert wanted.image is not None  # noqa: S101 - the model demands one of the two
        return Prebuilt(wanted.image)
    root = _folder(wanted.root_dir)
    return Repository(
        repo=wanted.repo,
        branch=wanted.branch or DEFAULT_BRANCH,
        root_dir=root,
        dockerfile_path=wanted.dockerfile_path or "Dockerfile",
        docker_context=_folder(wanted.docker_context) if wanted.docker_context else root,
        builder=wanted.builder or "auto",
        clone_secret=wanted.clone_secret,
        paths=wanted.build_filter.paths if wanted.build_filter else (),
        ignored_paths=wanted.build_filter.ignored_paths if wanted.build_filter else (),
    )


def foreign(source: Prebuilt, uid: str) -> Failed | None:
    """Refuse an image that was built for another App: what builds push is private to theirs.

    By whatever registry's name: those that the platform mirrors are looked up in its own first.
    """
    found = _BUILT.search(source.image)
    if found is None or found[1] == uid:
        return None
    return Failed("ForeignImage", "spec.image: it was built for another App; name its repository")


def with_image(wanted: app.App, image: str) -> app.App:
    """Return the App as if its author had written the image instead of a repository."""
    if wanted.repo is None and wanted.image == image:
        return wanted
    cleared = dict.fromkeys(("repo", *app.GIT_FIELDS))
    return wanted.model_copy(update={**cleared, "image": image})


def _folder(path: str | None) -> str:
    return (path or ".").removeprefix("./").rstrip("/") or "."
