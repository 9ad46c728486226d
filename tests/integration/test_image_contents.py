"""The program that lists what is in an image, on folders with real packages of four kinds."""

import json
import os
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from bex_stack import image_evidence
from bex_stack.embedded import toolchain

STATUS = """Package: tini
Status: install ok installed
Architecture: amd64
Version: 0.19.0-1
Maintainer: Somebody
Description: tiny init

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0
Maintainer: Somebody
Description: was here once
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root folder with what four ways of installing leave."""
    root = tmp_path_factory.mktemp("image") / "sbom"
    for name, text in {
        "var/lib/dpkg/status": STATUS,
        "etc/os-release": 'ID=debian\nVERSION_CODENAME=bookworm\nVERSION_ID="12"\n',
        "app/node_modules/ms/package.json": '{"name": "ms", "version": "2.1.3"}',
    }.items():
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(text)
    shutil.copy(toolchain.ensure(["crane"]).path("crane"), root / "app" / "crane")
    installed = Path(str(metadata.distribution("orjson").locate_file("")))
    for folder in installed.glob("orjson-*.dist-info"):
        shutil.copytree(folder, root / "app" / folder.name)
    # Names of the host's files are none of the image's.
    (root / "app" / "away").symlink_to("/var/lib/dpkg")
    return root


def scan(source: Path, into: Path) -> dict[str, Any]:
    """Run the program as BuildKit does; return what it wrote."""
    program = toolchain.ensure(["bex-scan"]).path("bex-scan")
    told = {"BUILDKIT_SCAN_DESTINATION": str(into), "BUILDKIT_SCAN_SOURCE": str(source)}
    subprocess.run([program], env=told, check=True, timeout=120)
    statement: dict[str, Any] = json.loads((into / "sbom.spdx.json").read_bytes())
    return statement


def test_packages_that_are_installed_are_named(root: Path, tmp_path: Path) -> None:
    """By the versions that are there, of Debian, Go, Python and Node; nothing that was removed."""
    found = {each.kind: set[str]() for each in image_evidence.packages(scan(root, tmp_path))}
    for each in image_evidence.packages(scan(root, tmp_path)):
        found[each.kind].add(f"{each.name} {each.version}")

    assert set(found) == {"deb", "golang", "pypi", "npm"}
    assert found["deb"] == {"tini 0.19.0-1"}
    assert found["pypi"] == {f"orjson {metadata.version('orjson')}"}
    assert found["npm"] == {"ms 2.1.3"}
    assert any("go-containerregistry" in each for each in found["golang"])


def test_statement_is_what_buildkit_and_readers_of_spdx_want(root: Path, tmp_path: Path) -> None:
    """An in-toto statement around a document whose references all lead somewhere."""
    statement = scan(root, tmp_path)
    document = statement["predicate"]
    known = {document["SPDXID"], "NOASSERTION"}
    known |= {each["SPDXID"] for part in ("packages", "files") for each in document[part]}

    assert statement["_type"] == "https://in-toto.io/Statement/v0.1"
    assert statement["predicateType"] == image_evidence.SBOM
    assert (document["spdxVersion"], document["dataLicense"]) == ("SPDX-2.3", "CC0-1.0")
    for each in document["relationships"]:
        assert {each["spdxElementId"], each["relatedSpdxElement"]} <= known


def test_image_without_packages_has_an_empty_list(tmp_path: Path) -> None:
    """A static program that no toolchain marked says nothing, and that is no failure."""
    root, into = tmp_path / "sbom", tmp_path / "out"
    root.mkdir()
    into.mkdir()
    (root / "app").write_bytes(os.urandom(4096))

    assert image_evidence.packages(scan(root, into)) == []
