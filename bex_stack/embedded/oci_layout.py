"""Writes an image made from scratch as an OCI image layout: bytes that never vary.

Pure but for the folder it writes. Source: OCI image-spec v1.1 (image layout, config, manifest).
"""

from __future__ import annotations

import filecmp
import hashlib
import io
import json
import os
import platform
import struct
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EPOCH = "1970-01-01T00:00:00Z"
"""Every time in an image: the moment of a build says nothing about what is in it."""

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_STORED_BLOCK_BYTES = 0xFFFF
"""Longest stored block of DEFLATE (RFC 1951, 3.2.4)."""

LAYER_FILE, FACTS_FILE = "layer.tar.gz", "layer.json"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Layer:
    """A packed layer in a file of its own, for images that share it."""

    file: Path
    digest: str
    size: int
    diff_id: str
    """Digest of the layer before it was packed."""

    @property
    def described(self) -> dict[str, Any]:
        """The layer as a manifest lists it."""
        return {"mediaType": _LAYER, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a few files, on top of layers that were packed before."""

    files: Mapping[str, bytes]
    """Absolute path in the image -> content; all belong to root and may be executed."""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    """What runs if nothing else is asked for; arguments of the entrypoint, if there is one."""
    below: tuple[Layer, ...] = ()
    """Lowest first."""
    user: str = "65532:65532"
    """uid:gid; 65532 is what others call nonroot."""
    folder: str = "/"
    """Where the program starts."""
    ports: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    architecture: str = _ARCHITECTURES.get(platform.machine(), platform.machine())


def write(image: Image, folder: Path) -> str:
    """Write *image* as an image layout into *folder*; return its digest (`sha256:…`)."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for layer in image.below:
        os.link(layer.file, blobs / layer.digest.removeprefix("sha256:"))
    packed = [layer.described for layer in image.below]
    diff_ids = [layer.diff_id for layer in image.below]
    if image.files:
        content = _layer(image.files)
        packed.append(_blob(blobs, _LAYER, gzip_stored(content)))
        diff_ids.append(_digest(content))
    config = _blob(blobs, _CONFIG, _json(_config(image, diff_ids)))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": packed,
    }
    described = _blob(blobs, MANIFEST, _json(manifest))
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    (folder / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [described]}))
    return str(described["digest"])


def digest(folder: Path) -> str:
    """Return the digest of the one image in the layout *folder*."""
    (described,) = json.loads((folder / "index.json").read_bytes())["manifests"]
    return str(described["digest"])


def manifest(folder: Path) -> bytes:
    """Return the manifest of the one image in the layout *folder*."""
    return (folder / "blobs" / "sha256" / digest(folder).removeprefix("sha256:")).read_bytes()


def pack_tree(
    root: Path,
    file: Path,
    *,
    beyond: Path | None = None,
    has_owners: bool = False,
    moment: int = 0,
) -> Layer:
    """Pack folders, files and links below *root* as a layer into *file*.

    Everything was changed at one *moment* (seconds since 1970) and belongs to root, unless it
    *has_owners*; modes stay. What is the same in the tree *beyond* is left out.
    """
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in _beyond(root, beyond):
            entry = archive.gettarinfo(path, str(path.relative_to(root)))
            if entry.islnk():  # a second name of a file that also lies elsewhere
                entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", path.stat().st_size
            entry.mtime = moment
            entry.uname = entry.gname = ""
            if not has_owners:
                entry.uid = entry.gid = 0
            archive.addfile(entry, io.BytesIO(path.read_bytes()) if entry.isreg() else None)
    content = made.getvalue()
    packed = gzip_stored(content)
    file.write_bytes(packed)
    return Layer(file, _digest(packed), len(packed), _digest(content))


def keep_layer(
    root: Path,
    folder: Path,
    *,
    beyond: Path | None = None,
    has_owners: bool = False,
    moment: int = 0,
) -> None:
    """Pack *root* as `pack_tree` does into *folder*, where `kept_layer` finds it."""
    file = folder / LAYER_FILE
    layer = pack_tree(root, file, beyond=beyond, has_owners=has_owners, moment=moment)
    facts = {"digest": layer.digest, "size": layer.size, "diff_id": layer.diff_id}
    (folder / FACTS_FILE).write_text(json.dumps(facts))


def kept_layer(folder: Path) -> Layer:
    """Read what `keep_layer` wrote."""
    return Layer(folder / LAYER_FILE, **json.loads((folder / FACTS_FILE).read_text()))


def _beyond(root: Path, other: Path | None) -> list[Path]:
    """List what lies below *root* and not just so below *other*, with the folders around it."""
    found = sorted(root.rglob("*"))
    if other is None:
        return found
    changed = {path for path in found if not _is_same(path, other / path.relative_to(root))}
    around = {folder for path in changed for folder in path.parents if root in folder.parents}
    return sorted(changed | around)


def _is_same(one: Path, other: Path) -> bool:
    if not os.path.lexists(other):
        return False
    facts, others = one.lstat(), other.lstat()
    if (facts.st_mode, facts.st_uid, facts.st_gid) != (
        others.st_mode,
        others.st_uid,
        others.st_gid,
    ):
        return False
    if one.is_symlink():
        return one.readlink() == other.readlink()
    return not one.is_file() or filecmp.cmp(one, other, shallow=False)


def gzip_stored(content: bytes) -> bytes:
    """Wrap *content* as gzip without compressing it.

    Compressed bytes depend on the version of zlib; plain layers, though allowed, trip up crane.
    Source: RFC 1952.
    """
    made = bytearray(b"\x1f\x8b\x08" + bytes(6) + b"\xff")
    for start in range(0, max(1, len(content)), _STORED_BLOCK_BYTES):
        block = content[start : start + _STORED_BLOCK_BYTES]
        is_last = start + _STORED_BLOCK_BYTES >= len(content)
        made += struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF) + block
    return bytes(made + struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF))


def _layer(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def _config(image: Image, diff_ids: Sequence[str]) -> dict[str, Any]:
    settings = {
        "User": image.user,
        "Entrypoint": list(image.entrypoint),
        "Cmd": list(image.command),
        "Env": [f"{key}={value}" for key, value in sorted(image.environment.items())],
        "ExposedPorts": {f"{port}/tcp": {} for port in image.ports},
        "Labels": dict(image.labels),
        "WorkingDir": image.folder,
    }
    return {
        "created": EPOCH,
        "architecture": image.architecture,
        "os": "linux",
        "config": {key: value for key, value in settings.items() if value},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [{"created": EPOCH, "created_by": "bex: FROM scratch"} for _ in diff_ids],
    }


def _blob(folder: Path, media_type: str, content: bytes) -> dict[str, Any]:
    name = _digest(content)
    (folder / name.removeprefix("sha256:")).write_bytes(content)
    return {"mediaType": media_type, "digest": name, "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
