"""Images this host makes from scratch around one static program, and how they reach a registry.

The same sources and the same Go make the same digest. Layouts are kept in the cache; crane pushes.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shlex
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bex_stack.embedded import binaries, building, golang, oci_layout, toolchain

PUSH_TIMEOUT_SECONDS = 120
ASK_TIMEOUT_SECONDS = 5

PAUSE_TAG = "3.10.2"
"""The tag the kubelet of this Kubernetes asks for; ours answers in its place."""

_LINK_FLAGS = "-s -w -buildid="
_FORMAT = "2"
"""Raised when the same program has to become another image."""

_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)

# Settings for a proxy are not meant for a registry on this host.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def source_digest(source: Path) -> str:
    """Return 64 hex digits that change with any name or content in *source*.

    Hidden files, Go's tests and the owner, mode and time of files do not count.
    """
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        is_hidden = any(part.startswith(".") for part in name.parts)
        if is_hidden or not path.is_file() or path.name.endswith("_test.go"):
            continue
        content = path.read_bytes()
        digest.update(f"{name.as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


PAUSE_DIGEST = source_digest(binaries.TOOLS / "machine" / "pause")
"""Stands for the sources of the pause image."""


def build_go_image(
    source: Path,
    *,
    toolchain: toolchain.Toolchain,
    ports: tuple[int, ...] = (8080,),
    package: str = ".",
) -> Path:
    """Build the Go program in *source* and return the OCI layout of its image.

    The program becomes `/<name of the folder>`, run as uid 65532 with PORT set to the first port.

    Raises: ToolchainError.
    """
    go = toolchain.go()
    how = (_FORMAT, package, ports, go.version, binaries.COMPILE_FLAGS, _LINK_FLAGS)
    key = hashlib.sha256(repr((source_digest(source), source.name, how)).encode()).hexdigest()[:16]
    layout = toolchain.cache / "images" / f"{source.name}-{key}"
    if layout.is_dir():
        return layout
    with _staging(layout) as staging:
        program = staging / source.name
        _build(go, source, package, program)
        image = oci_layout.Image(
            files={f"/{source.name}": program.read_bytes()},
            entrypoint=(f"/{source.name}",),
            ports=ports,
            environment={"PORT": str(ports[0])} if ports else {},
            labels={
                "org.opencontainers.image.title": source.name,
                "org.opencontainers.image.version": source_digest(source)[:12],
            },
        )
        return _keep(image, staging, layout)


def build_pause_image(*, toolchain: toolchain.Toolchain) -> Path:
    """Return the OCI layout of the image that holds a pod's namespaces open."""
    program = toolchain.path("pause")
    layout = toolchain.cache / "images" / f"{program.parents[1].name}-pause-{_FORMAT}"
    if layout.is_dir():
        return layout
    image = oci_layout.Image(
        files={"/pause": program.read_bytes()},
        entrypoint=("/pause",),
        user="65535:65535",
        labels={"org.opencontainers.image.title": "pause"},
    )
    with _staging(layout) as staging:
        return _keep(image, staging, layout)


def kept(layout: Path, make: Callable[[Path], object]) -> Path:
    """Return the folder *layout*, filled by *make* in one step unless it is there."""
    if layout.is_dir():
        return layout
    with _staging(layout) as staging:
        made = staging / "layout"
        made.mkdir()
        make(made)
        return _moved(made, layout)


def push(
    layout: Path, reference: str, *, toolchain: toolchain.Toolchain, insecure: bool = True
) -> str:
    """Push the image in *layout* as *reference*; return its digest.

    With *insecure* plain http will do, as for a registry on this host.

    Raises: ToolchainError.
    """
    command = [str(toolchain.path("crane")), "push", str(layout), reference]
    if insecure:
        command.append("--insecure")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PUSH_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise golang.ToolchainError(
            f"{reference} was not pushed within {PUSH_TIMEOUT_SECONDS} s; is the registry up?"
        ) from exc
    if done.returncode != 0:
        raise golang.ToolchainError(
            f"{reference} could not be pushed:\n{golang.last_lines(done.stderr)}\n"
            f"Repeat it with:\n  {shlex.join(command)}"
        )
    pushed = done.stdout.strip().rpartition("@")[2]
    expected = oci_layout.digest(layout)
    if pushed != expected:
        raise golang.ToolchainError(f"{reference}: pushed {expected}, the registry says {pushed}")
    return pushed


def tag(layout: Path, registry: str, repository: str, tags: Iterable[str]) -> None:
    """Let *tags* of a repository name the image in *layout*, which was pushed there before.

    Raises: ToolchainError.
    """
    manifest = oci_layout.manifest(layout)
    for each in tags:
        request = urllib.request.Request(
            f"http://{registry}/v2/{repository}/manifests/{each}",
            method="PUT",
            data=manifest,
            headers={"Content-Type": oci_layout.MANIFEST},
        )
        try:
            with _DIRECT.open(request, timeout=ASK_TIMEOUT_SECONDS):
                pass
        except (OSError, http.client.HTTPException) as exc:
            raise golang.ToolchainError(f"{repository} could not be tagged {each}: {exc}") from exc


def digest_in_registry(registry: str, repository: str, tag: str) -> str | None:
    """Return the digest of an image; "" if the registry lacks it, None if it does not answer."""
    request = urllib.request.Request(
        f"http://{registry}/v2/{repository}/manifests/{tag}",
        method="HEAD",
        headers={"Accept": _ACCEPT},
    )
    try:
        with _DIRECT.open(request, timeout=ASK_TIMEOUT_SECONDS) as answer:
            return str(answer.headers.get("Docker-Content-Digest", ""))
    except urllib.error.HTTPError as exc:
        with exc:
            return "" if exc.code == http.client.NOT_FOUND else None
    except (OSError, http.client.HTTPException):
        return None


def _build(go: golang.Go, source: Path, package: str, program: Path) -> None:
    arguments = [str(go.program), "build", "-ldflags", _LINK_FLAGS]
    output, failure = building.run(
        [*arguments, "-o", str(program), package],
        cwd=source,
        env=go.environment(os.environ, cgo=False),
    )
    if failure:
        again = building.repeat_command(
            source,
            go.settings(os.environ, cgo=False),
            [*arguments, "-o", "/dev/null", package],
        )
        raise golang.ToolchainError(
            f"{source.name} could not be built: {failure}\n{golang.last_lines(output)}\n"
            f"Repeat it with:\n  {again}"
        )


@contextlib.contextmanager
def _staging(layout: Path) -> Iterator[Path]:
    layout.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.parent, prefix=".making-") as made:
        yield Path(made)


def _keep(image: oci_layout.Image, staging: Path, layout: Path) -> Path:
    made = staging / "layout"
    oci_layout.write(image, made)
    return _moved(made, layout)


def _moved(made: Path, layout: Path) -> Path:
    try:
        made.replace(layout)
    except OSError:
        if not layout.is_dir():  # otherwise another process was first, with the same content
            raise
        shutil.rmtree(made)
    return layout
