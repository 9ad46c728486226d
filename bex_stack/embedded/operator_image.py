"""The operator's image, made without an image registry: Debian's Python, the locked wheels and the
operator's modules, a layer each. A change of the modules makes and pushes the small top layer only.

Everything is kept in the cache under the digest of what it was made from.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import bex_operator
from bex_stack.embedded import debian, disk, golang, oci_layout

SOURCE = Path(bex_operator.__file__).parent
LOCK = Path(__file__).parents[2] / "requirements" / "operator.lock"
REPOSITORY = "bex/operator"
ENTRYPOINT = (debian.PYTHON, "-m", "bex_operator")
WHEELS, MODULES = "opt/bex/lib", "opt/bex/operator"
ENVIRONMENT = {
    "PATH": "/usr/bin",
    "PYTHONPATH": f"/{MODULES}:/{WHEELS}",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
_STAGING = ".making-operator-"
_FORMAT = "1"
"""Raised when the same content has to become another image."""
_WAIT_SECONDS = 600.0
_KEPT = 10
_NOT_RUN = frozenset({".c", ".h", ".pxd", ".pyi", ".pyx"})
"""What wheels bring along for building against them."""
_LIBC = ("2_17", "2_28", "2_34")
"""Wheels for these versions of the C library run on every Debian of today."""

Tell = Callable[[str], None]


@functools.cache
def source_digest(source: Path = SOURCE) -> str:
    """Return 64 hex digits that stand for the operator's modules."""
    digest = hashlib.sha256()
    for module in sorted(source.rglob("*.py")):
        content = module.read_bytes()
        digest.update(f"{module.relative_to(source)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def content_digest(source: Path = SOURCE) -> str:
    """Return 16 hex digits that stand for all that the image is made from."""
    return _key(_wheels_key(), source_digest(source), ENTRYPOINT, sorted(ENVIRONMENT.items()))


def is_missing() -> bool:
    """Say whether `ensure` would have to make it."""
    return not _layout(None, SOURCE).is_dir()


def ensure(
    *, cache: Path | None = None, source: Path = SOURCE, tell: Tell = lambda _: None
) -> Path:
    """Return the OCI layout of the image; made, or taken from the cache.

    Raises: ToolchainError.
    """
    layout = _layout(cache, source)
    if layout.is_dir():
        return layout
    folder = layout.parent
    with disk.locked(folder / ".operator.lock", timeout_seconds=_WAIT_SECONDS):
        for left in folder.glob(f"{_STAGING}*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        python = _keep(folder / f"python-{python_key()}", _make_python, tell)
        root = python / "root"
        wheels = _keep(
            folder / f"wheels-{_wheels_key()}", functools.partial(_make_wheels, root), tell
        )
        _forget_older(folder)
        return _keep(layout, functools.partial(_make_layout, python, wheels, source), tell)


def _forget_older(folder: Path) -> None:
    """Every edit makes a layout: the latest few serve all checkouts and running pushes."""
    made = sorted(folder.glob("operator-*"), key=lambda layout: layout.stat().st_mtime)
    for layout in made[:-_KEPT]:
        shutil.rmtree(layout)


def _layout(cache: Path | None, source: Path) -> Path:
    folder = golang.default_cache() if cache is None else cache
    return folder / "images" / f"operator-{content_digest(source)}"


def python_key() -> str:
    """Return what stands for the base: packages and system."""
    return _key(debian.release(), debian.PACKAGES, debian.UNUSED)


def _wheels_key() -> str:
    return _key(python_key(), LOCK.read_text())


def _key(*parts: object) -> str:
    return hashlib.sha256(repr((_FORMAT, *parts)).encode()).hexdigest()[:16]


def _keep(folder: Path, make: Callable[[Path, Tell], None], tell: Tell) -> Path:
    """Return *folder*, filled by *make* in one step unless it is there."""
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_STAGING) as staging:
            made = Path(staging) / "made"
            made.mkdir()
            make(made, tell)
            made.replace(folder)
    return folder


def _make_python(folder: Path, tell: Tell) -> None:
    tell("making the operator's image: Python from Debian's packages")
    root = folder / "root"
    root.mkdir()
    debian.make_python(root, tell=tell)
    oci_layout.keep_layer(root, folder)


def _make_wheels(python: Path, folder: Path, tell: Tell) -> None:
    tell("making the operator's image: the locked wheels")
    with _room(python, folder) as root:
        target = root / WHEELS
        _install(debian.python_version(root), target)
        for file in [each for each in target.rglob("*") if each.suffix in _NOT_RUN]:
            file.unlink()
        shutil.rmtree(target / "bin", ignore_errors=True)
        debian.compile_modules(root, f"/{WHEELS}")
        modules = "aiohttp, orjson, prometheus_client, pydantic, structlog, uvloop, yaml"
        debian.run_inside(root, "-c", f"import asyncio, ssl, {modules}")
        _pack_part(root, WHEELS, folder)


def _make_layout(python: Path, wheels: Path, source: Path, folder: Path, _tell: Tell) -> None:
    with _room(python / "root", folder) as root:
        shutil.copytree(
            source, root / MODULES / SOURCE.name, ignore=shutil.ignore_patterns("__pycache__")
        )
        debian.compile_modules(root, f"/{MODULES}")
        _pack_part(root, MODULES, folder)
    image = oci_layout.Image(
        files={},
        entrypoint=ENTRYPOINT,
        below=tuple(oci_layout.kept_layer(each) for each in (python, wheels, folder)),
        environment=ENVIRONMENT,
        labels={
            "org.opencontainers.image.title": "bex-operator",
            "org.opencontainers.image.version": source_digest(source)[:12],
        },
    )
    oci_layout.write(image, folder)
    for name in (oci_layout.LAYER_FILE, oci_layout.FACTS_FILE):
        (folder / name).unlink()


@contextmanager
def _room(python: Path, folder: Path) -> Iterator[Path]:
    """Lend a copy of the tree *python* (of links, so it costs nothing) to put modules into."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".room-") as made:
        root = Path(made) / "root"
        shutil.copytree(python, root, symlinks=True, copy_function=os.link)
        yield root


def _install(version: str, target: Path) -> None:
    """Install the locked wheels for another Python than this one into *target*."""
    command = [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"),
        *("--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile"),
        *("--implementation", "cp", "--python-version", version, "--target", str(target)),
    ]
    for libc in _LIBC:
        command += ["--platform", f"manylinux_{libc}_{platform.machine()}"]
    debian.run([*command, "--requirement", str(LOCK)])


def _pack_part(root: Path, part: str, folder: Path) -> None:
    """Pack what lies in the folder *part* of *root*, and nothing beside it."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as made:
        target = Path(made) / part
        target.parent.mkdir(parents=True)
        (root / part).replace(target)
        Path(made).chmod(0o755)
        oci_layout.keep_layer(Path(made), folder)
