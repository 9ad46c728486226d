"""Layers of folder trees: what lies in them, and what lies below already."""

import gzip
import io
import os
import tarfile
from pathlib import Path

from bex_stack.embedded import oci_layout


def entries(layer: oci_layout.Layer) -> dict[str, tarfile.TarInfo]:
    """Read a packed layer."""
    content = gzip.decompress(layer.file.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {each.name: each for each in archive}


def tree(root: Path) -> Path:
    """A folder with a few files."""
    (root / "etc").mkdir(parents=True)
    (root / "etc/same").write_text("same")
    (root / "etc/other").write_text("one")
    (root / "link").symlink_to("etc/same")
    return root


def test_layer_holds_what_lies_beyond_another_tree(tmp_path: Path) -> None:
    """Files of another content, mode or kind, the new ones, and the folders around them."""
    below, root = tree(tmp_path / "below"), tree(tmp_path / "root")
    (root / "etc/other").write_text("two")
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/new").touch(0o755)
    found = entries(oci_layout.pack_tree(root, tmp_path / "layer", beyond=below))

    assert set(found) == {"etc", "etc/other", "usr", "usr/bin", "usr/bin/new"}


def test_changed_mode_and_link_are_changes(tmp_path: Path) -> None:
    """The content alone does not make two files the same."""
    below, root = tree(tmp_path / "below"), tree(tmp_path / "root")
    (root / "etc/same").chmod(0o4755)
    (root / "link").unlink()
    (root / "link").symlink_to("etc/other")
    found = entries(oci_layout.pack_tree(root, tmp_path / "layer", beyond=below))

    assert (found["etc/same"].mode, found["link"].linkname) == (0o4755, "etc/other")
    assert "etc/other" not in found


def test_owners_are_kept_only_where_they_matter(tmp_path: Path) -> None:
    """A system has files of other users; a program's files belong to root, whoever made them."""
    root = tree(tmp_path / "root")
    os.chown(root / "etc/same", 33, 33)
    kept = entries(oci_layout.pack_tree(root, tmp_path / "kept", has_owners=True))
    plain = entries(oci_layout.pack_tree(root, tmp_path / "plain"))

    assert (kept["etc/same"].uid, plain["etc/same"].uid) == (33, 0)


def test_kept_layer_is_the_one_that_was_packed(tmp_path: Path) -> None:
    """Digest and size are those of the file, whoever reads them later."""
    root = tree(tmp_path / "root")
    oci_layout.keep_layer(root, tmp_path)

    assert oci_layout.kept_layer(tmp_path) == oci_layout.pack_tree(
        root, tmp_path / oci_layout.LAYER_FILE
    )
