"""Brings what is pinned: files into a folder, images into a folder and from there into a registry.

Nothing is used before its checksum was compared; a checksum is only ever learnt by `learn`, which
a person asks for.
"""

import hashlib
import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bex_stack import errors
from bex_stack import settings_cluster_api as models
from components import pins

ANSWER_SECONDS = 60.0
COPY_SECONDS = 1800.0
IMAGES = "images"
"""Folder of a bundle with an OCI layout per image."""
_CHUNK = 1 << 20

Tell = Callable[[str], None]


class NotBrought(errors.StackError):
    """Something from outside did not come, or is not what was pinned."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a stack brings from outside."""

    files: Sequence[pins.File]
    images: Sequence[pins.Image]


def wanted_by(stack: models.CapdSettings | models.CaphSettings) -> Wanted:
    """Choose from the table: the stack's own pod network, its own machines' image."""
    files = [
        each
        for each in pins.FILES
        if stack.provider in each.stacks and each.name not in stack.left_out
    ]
    images = [
        each
        for each in pins.IMAGES
        if stack.provider in each.stacks and each.reference not in stack.left_out
    ]
    if isinstance(stack, models.CapdSettings) and not stack.node_image:
        images.append(pins.NODE_IMAGES[stack.kubernetes_version])
    return Wanted(files, images)


def fetch(files: Sequence[pins.File], folder: Path, lock: pins.Lock, tell: Tell) -> None:
    """Bring every file that is not there yet; what is there is checked, too.

    Raises:
        NotBrought: naming the file: no checksum, another checksum, or no answer.
    """
    for file in files:
        expected = lock.sha256(file)
        if expected is None:
            raise NotBrought(
                f"{file.name} has no checksum in {pins.LOCK.name}: run `bex pins lock`"
            )
        place = folder / file.name
        if place.is_file() and _sha256(place) == expected:
            continue
        tell(f"fetching {file.url}")
        found = _download(file, place, expected)
        if found != expected:
            raise NotBrought(f"{file.url} has SHA-256 {found}; {pins.LOCK.name} says {expected}")


def learn(wanted: Wanted, earlier: pins.Lock, crane: Path, tell: Tell) -> pins.Lock:
    """Ask for every checksum that *earlier* lacks.

    Raises:
        NotBrought: a file or image does not answer.
    """
    files, images = dict(earlier.files), dict(earlier.images)
    for file in wanted.files:
        if file.name not in files:
            tell(f"reading {file.url}")
            with tempfile.TemporaryDirectory(prefix="bex-") as made:
                files[file.name] = _download(file, Path(made) / "file", None)
    for image in wanted.images:
        if image.reference not in images:
            tell(f"asking for {image.reference}")
            images[image.reference] = _crane(crane, "digest", image.reference).strip()
    return pins.Lock(files, images)


def bundle(wanted: Wanted, folder: Path, lock: pins.Lock, crane: Path, tell: Tell) -> None:
    """Bring files and images into *folder*, images by the digests of the lock.

    Raises:
        NotBrought: as for `fetch`, and for an image without a digest.
    """
    fetch(wanted.files, folder, lock, tell)
    for image in wanted.images:
        reference = lock.reference(image)
        if "@" not in reference:
            raise NotBrought(f"{reference} has no digest in {pins.LOCK.name}: run `bex pins lock`")
        place = folder / IMAGES / _folder_name(image)
        if (place / "index.json").is_file():
            continue
        tell(f"fetching {reference}")
        place.parent.mkdir(parents=True, exist_ok=True)
        _crane(crane, "pull", "--format=oci", reference, str(place))


def load(wanted: Wanted, folder: Path, registry: str, crane: Path, tell: Tell) -> None:
    """Push a bundle's images to *registry* (HOST:PORT), each under its own path and tag.

    Raises:
        NotBrought: the bundle lacks an image, or the registry refuses it.
    """
    for image in wanted.images:
        place = folder / IMAGES / _folder_name(image)
        if not (place / "index.json").is_file():
            raise NotBrought(f"{folder} lacks {image.reference}: run `bex bundle` again")
        target = f"{registry}/{image.reference.partition('/')[2]}"
        tell(f"pushing {target}")
        _crane(crane, "push", "--insecure", str(place), target)


def _folder_name(image: pins.Image) -> str:
    return image.reference.replace("/", "_").replace(":", "_")


def _download(file: pins.File, place: Path, expected: str | None) -> str:
    """Read a file to *place* if it is the *expected* one; return its SHA-256."""
    place.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=".new-")
    fresh = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as out,
            urllib.request.urlopen(file.url, timeout=ANSWER_SECONDS) as answer,  # noqa: S310 - pinned
        ):
            while chunk := answer.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
        found = digest.hexdigest()
        if expected in (None, found):
            fresh.replace(place)
    except (urllib.error.URLError, OSError) as failed:
        raise NotBrought(f"{file.url}: {failed}") from failed
    finally:
        fresh.unlink(missing_ok=True)
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _crane(crane: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [crane, *arguments],
            capture_output=True,
            text=True,
            timeout=COPY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise NotBrought(f"crane {arguments[0]} took longer than {COPY_SECONDS:g} s") from late
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or ["(it printed nothing)"]
        raise NotBrought(f"crane {' '.join(arguments)}: {said[0]}")
    return done.stdout
