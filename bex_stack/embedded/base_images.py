"""Base images for hosts without an image registry in reach, under the names Dockerfiles use.

`golang` is the toolchain's own Go and nothing else: no shell, so RUN takes its JSON form there,
as the Dockerfiles do that bex makes for Go projects.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from pathlib import Path

from bex_stack.embedded import golang, images, oci_layout
from bex_stack.embedded import toolchain as toolchains

NAMES = ("golang",)
_FORMAT = "1"
"""Raised when the same Go has to become another image."""
_GO = "usr/local/go"
_NOT_NEEDED = ("api", "doc", "misc", "test", "testdata", "*_test.go")
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def seed(name: str, registry: str, *, toolchain: toolchains.Toolchain) -> str:
    """Push the base image *name* as `library/NAME:latest`; return its digest.

    Raises: ToolchainError.
    """
    if name not in NAMES:
        raise golang.ToolchainError(f"no base image is called {name!r}; there is {NAMES[0]}")
    go = toolchain.go()
    version = golang.format_version(go.version)
    key = hashlib.sha256(repr((_FORMAT, version)).encode()).hexdigest()[:12]
    layout = images.kept(
        toolchain.cache / "images" / f"{name}-{version}-{key}",
        functools.partial(_make, go, version),
    )
    return images.push(layout, f"{registry}/library/{name}:latest", toolchain=toolchain)


def _make(go: golang.Go, version: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".root-") as made:
        root, layer = Path(made) / "root", Path(made) / "layer.tar.gz"
        source = go.program.resolve().parents[1]
        shutil.copytree(
            source, root / _GO, symlinks=True, ignore=shutil.ignore_patterns(*_NOT_NEEDED)
        )
        (root / "go").mkdir()
        for temporary in ("tmp", "var/tmp"):
            (root / temporary).mkdir(parents=True)
            (root / temporary).chmod(0o1777)
        if _AUTHORITIES.exists():
            target = root / _AUTHORITIES.relative_to("/")
            target.parent.mkdir(parents=True)
            shutil.copyfile(_AUTHORITIES, target)
        image = oci_layout.Image(
            files={},
            entrypoint=(f"/{_GO}/bin/go",),
            below=(oci_layout.pack_tree(root, layer),),
            user="0:0",
            environment={
                "PATH": f"/go/bin:/{_GO}/bin",
                "GOPATH": "/go",
                "GOCACHE": "/go/cache",
                "HOME": "/go",
            },
            labels={
                "org.opencontainers.image.title": "golang",
                "org.opencontainers.image.vendor": "bex",
                "org.opencontainers.image.version": version,
            },
        )
        oci_layout.write(image, folder)
