"""The operator's image, made from this system's packages and the locked wheels."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bex_stack.embedded import debian, oci_layout, operator_image

DOCKERFILE = Path(__file__).parents[2] / "operator" / "Dockerfile"
MODULES_MAX = 4_000_000


@pytest.fixture(scope="module")
def layout() -> Path:
    """The image as it is now; made once, then in the cache."""
    return operator_image.ensure()


@pytest.fixture
def changed(tmp_path: Path) -> Iterator[Path]:
    """The image after an edit of one module."""
    source = tmp_path / "bex_operator"
    shutil.copytree(operator_image.SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    with (source / "__main__.py").open("a") as module:
        module.write("# an edit\n")
    made = operator_image.ensure(source=source)
    yield made
    shutil.rmtree(made)


def blob(layout: Path, digest: str) -> dict[str, Any]:
    """Read a JSON blob of a layout."""
    path = layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
    return dict(json.loads(path.read_bytes()))


def layers(layout: Path) -> list[tuple[str, int]]:
    """Digest and size of each layer, lowest first."""
    manifest = blob(layout, oci_layout.digest(layout))
    return [(each["digest"], each["size"]) for each in manifest["layers"]]


def test_edit_changes_the_small_layer_only(layout: Path, changed: Path) -> None:
    """Python and the wheels stay where they are: in the cache, the registry and on machines."""
    before, after = layers(layout), layers(changed)

    assert after[:2] == before[:2]
    assert after[2] != before[2]
    assert after[2][1] < MODULES_MAX


def test_same_content_makes_the_same_image(changed: Path, tmp_path: Path) -> None:
    """An image that was lost comes back with its digest, so nothing restarts."""
    digest = oci_layout.digest(changed)
    shutil.rmtree(changed)

    again = operator_image.ensure(source=tmp_path / "bex_operator")

    assert again == changed
    assert oci_layout.digest(again) == digest


def test_image_says_how_to_run_and_as_whom(layout: Path) -> None:
    """Nobody special, by the entry point that every substrate uses."""
    manifest = blob(layout, oci_layout.digest(layout))

    config = blob(layout, manifest["config"]["digest"])["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == list(operator_image.ENTRYPOINT)


def test_dockerfile_makes_the_same_tree(layout: Path) -> None:
    """Paths, user, variables and entry point are those of the image made here."""
    assert layout.is_dir()
    written = DOCKERFILE.read_text()

    for name, value in operator_image.ENVIRONMENT.items():
        assert name == "PATH" or f"{name}={value}" in written
    assert f"ENTRYPOINT {json.dumps(list(operator_image.ENTRYPOINT))}" in written
    assert "USER 65532:65532" in written
    assert f"--target /{operator_image.WHEELS}" in written
    assert f"/{operator_image.MODULES}/bex_operator" in written


def test_locked_wheels_are_those_that_bex_runs_with() -> None:
    """One version of each package in checkout and image."""
    folder = operator_image.LOCK.parent
    pins = [
        {line.split(" ")[0] for line in file.read_text().splitlines() if "==" in line}
        for file in (operator_image.LOCK, folder / "runtime.lock")
    ]

    assert pins[0]
    assert pins[0] <= pins[1]


def test_base_trusts_the_systems_authorities(layout: Path) -> None:
    """Digests of public images are asked for by https, with names from the cluster's server."""
    (python,) = layout.parent.glob(f"python-{operator_image.python_key()}")
    root = python / "root"

    asked = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"
    assert int(debian.run_inside(root, "-c", asked)) > 50
    assert (root / "etc/nsswitch.conf").read_text() == "hosts: files dns\n"
