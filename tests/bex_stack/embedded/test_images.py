"""What an image made from scratch is made of; pushing is in tests/integration."""

import dataclasses
import gzip
import io
import json
import os
import shutil
import socket
import tarfile
from pathlib import Path

import pytest

from bex_stack.embedded import images, oci_layout

IMAGE = oci_layout.Image(
    files={"/hello": b"program" * 20_000},
    entrypoint=("/hello",),
    ports=(8080,),
    environment={"PORT": "8080"},
    labels={"org.opencontainers.image.title": "hello"},
    architecture="amd64",
)


def read_blob(folder: Path, digest: str) -> bytes:
    """Return the content of one blob of a layout."""
    return (folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()


def test_image_has_the_digest_it_always_had(tmp_path: Path) -> None:
    """The bytes depend on the image alone: not on the time, the host or the version of zlib."""
    digest = oci_layout.write(IMAGE, tmp_path)

    assert digest == "sha256:b0ae2c026241da1192dc79d84124ffad843cc456dd2dcce8c1d86d98ece4a45c"
    assert oci_layout.digest(tmp_path) == digest


def test_layer_holds_the_files(tmp_path: Path) -> None:
    """Any program that reads gzip and tar finds the program, owned by root, ready to run."""
    manifest = json.loads(read_blob(tmp_path, oci_layout.write(IMAGE, tmp_path)))
    layer = gzip.decompress(read_blob(tmp_path, manifest["layers"][0]["digest"]))
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        (entry,) = archive.getmembers()
        file = archive.extractfile(entry)
        content = file.read() if file else b""

    assert content == IMAGE.files["/hello"]
    assert (entry.name, entry.mode, entry.uid, entry.mtime) == ("hello", 0o755, 0, 0)


def test_config_says_how_to_run(tmp_path: Path) -> None:
    """Entry point, user, port and labels are the image's own."""
    manifest = json.loads(read_blob(tmp_path, oci_layout.write(IMAGE, tmp_path)))
    config = json.loads(read_blob(tmp_path, manifest["config"]["digest"]))

    assert config["config"] == {
        "User": "65532:65532",
        "Entrypoint": ["/hello"],
        "Env": ["PORT=8080"],
        "ExposedPorts": {"8080/tcp": {}},
        "Labels": {"org.opencontainers.image.title": "hello"},
        "WorkingDir": "/",
    }


def test_source_digest_follows_names_and_contents(tmp_path: Path) -> None:
    """A changed byte and a renamed file each make other sources."""
    source = tmp_path / "one"
    source.mkdir()
    (source / "main.go").write_text("package main\n")
    first = images.source_digest(source)
    (source / "main.go").rename(source / "app.go")
    renamed = images.source_digest(source)
    (source / "app.go").write_text("package app\n")

    assert len({first, renamed, images.source_digest(source)}) == 3


def test_source_digest_ignores_what_does_not_matter(tmp_path: Path) -> None:
    """Another folder, hidden files, Go's tests and modes are the same sources."""
    source = Path(__file__).parents[3] / "examples" / "hello-go"
    copy = tmp_path / "elsewhere"
    shutil.copytree(source, copy)
    (copy / ".git").mkdir()
    (copy / ".git" / "HEAD").write_text("ref\n")
    (copy / "main_test.go").write_text("package main\n")
    (copy / "main.go").chmod(0o600)

    assert images.source_digest(copy) == images.source_digest(source)


@pytest.mark.parametrize("content", [b"", b"x" * 0xFFFF, b"y" * 0x10000], ids=["0", "1", "2"])
def test_stored_gzip_is_read_by_others(content: bytes) -> None:
    """Blocks of every number come back as they were."""
    assert gzip.decompress(oci_layout.gzip_stored(content)) == content


def test_registry_that_does_not_answer_is_not_one_without_the_image() -> None:
    """An unreachable registry is None; an image that is missing would be an empty text."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert images.digest_in_registry(f"127.0.0.1:{port}", "bex/hello-go", "1") is None


def test_packed_tree_keeps_modes_and_links_and_nothing_else(tmp_path: Path) -> None:
    """Two trees of the same content are one layer, whoever made them, and when."""
    packed = []
    for number in (1, 2):
        root = tmp_path / f"tree{number}"
        (root / "usr/bin").mkdir(parents=True)
        (root / "usr/bin/tool").write_bytes(b"run")
        (root / "usr/bin/tool").chmod(0o755)
        (root / "bin").symlink_to("usr/bin")
        (root / "twin").hardlink_to(root / "usr/bin/tool")
        os.utime(root / "usr/bin/tool", (number, number))
        packed.append(oci_layout.pack_tree(root, tmp_path / f"layer{number}"))

    with tarfile.open(packed[0].file) as archive:
        found = {entry.name: (entry.type, entry.mode, entry.mtime) for entry in archive}
        content = [archive.extractfile(name) for name in ("usr/bin/tool", "twin")]
        texts = [file.read() for file in content if file]
    assert packed[0].digest == packed[1].digest
    assert found["usr/bin/tool"] == (tarfile.REGTYPE, 0o755, 0)
    assert found["bin"][0] == tarfile.SYMTYPE
    assert texts == [b"run", b"run"]


def test_image_on_top_of_layers_lists_them_lowest_first(tmp_path: Path) -> None:
    """Layers that were packed before are shared: linked, not copied."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root/file").write_bytes(b"below")
    below = oci_layout.pack_tree(tmp_path / "root", tmp_path / "layer")
    image = dataclasses.replace(IMAGE, below=(below,))

    manifest = json.loads(read_blob(tmp_path / "made", oci_layout.write(image, tmp_path / "made")))
    config = json.loads(read_blob(tmp_path / "made", manifest["config"]["digest"]))

    assert manifest["layers"][0] == below.described
    assert len(manifest["layers"]) == 2
    assert config["rootfs"]["diff_ids"][0] == below.diff_id
    assert below.file.stat().st_nlink == 2
