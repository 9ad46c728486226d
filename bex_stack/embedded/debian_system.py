"""A small system of Debian's packages as a folder tree, in which more can be installed.

For base images. The tree's own dpkg installs them, in a mount and process namespace of its own:
nothing is installed on the host, and nothing stays mounted.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bex_stack.embedded import debian, golang

# Not usrmerge, which brings a whole Perl along: the tree is merged from the start.
PACKAGES = ("?essential", "apt", "ca-certificates", "usr-is-merged")
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"
_STATUS = "var/lib/dpkg/status"
_ARCHIVES = "var/cache/apt/archives"
_SOURCES = ("etc/apt/sources.list", "etc/apt/sources.list.d/debian.sources")
_LEFT_OUT = ("doc", "groff", "info", "lintian", "linda", "locale", "man")
_FILES = {
    "etc/dpkg/dpkg.cfg.d/slim": "".join(f"path-exclude /usr/share/{name}/*\n" for name in _LEFT_OUT)
    + "path-include /usr/share/doc/*/copyright\n",
    "etc/apt/apt.conf.d/slim": 'Acquire::Languages "none";\n'
    f'DPkg::Post-Invoke {{ "rm -f /{_ARCHIVES}/*.deb"; }};\n',
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
}
"""No manuals, no packages kept after they are installed, no services started."""
_CLEANED = ("var/log", "var/cache", "var/lib/apt/lists", "tmp", "run")
_PASSWORD = re.compile(r"//[^/\s@]*@")
_INSTALL = """
mount --bind /dev/null "$1/dev/null"
mount --bind /dev/urandom "$1/dev/urandom"
mount -t proc proc "$1/proc"
root=$1; shift
exec chroot "$root" dpkg --force-depends --force-unsafe-io --install "$@"
"""

Tell = Callable[[str], None]


def make(root: Path, *, tell: Tell) -> None:
    """Fill the empty folder *root* with a system that has apt.

    Raises: ToolchainError.
    """
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    with _packages(root, PACKAGES, tell) as packages:
        for package in packages:
            _unpack(package, root)
        for name, text in _FILES.items():
            (root / name).write_text(text)
        (root / "usr/sbin/policy-rc.d").chmod(0o755)
        for name in ("passwd", "group"):
            shutil.copyfile(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
        _install(root, packages)
    _take_from_host(root)


def add(root: Path, packages: Sequence[str], *, tell: Tell) -> None:
    """Install *packages* into the system in *root*.

    Raises: ToolchainError.
    """
    with _packages(root, packages, tell, installed=root / _STATUS) as found:
        _install(root, found)


@contextlib.contextmanager
def _packages(
    root: Path, wanted: Sequence[str], tell: Tell, installed: Path = debian.NOTHING_INSTALLED
) -> Iterator[list[Path]]:
    """Lend downloaded packages in a folder where the tree's own dpkg sees them; clean up."""
    folder = root / _ARCHIVES
    folder.mkdir(parents=True, exist_ok=True)
    yield debian.download(wanted, folder, tell=tell, installed=installed)
    for name in ("dev/null", "dev/urandom"):
        (root / name).unlink()
    for name in _CLEANED:
        for path in sorted((root / name).rglob("*"), reverse=True):
            if path.is_symlink() or not path.is_dir():
                path.unlink()
    shutil.rmtree(folder / "partial")


def _unpack(package: Path, root: Path) -> None:
    """Lay out a package's files without installing it: dpkg cannot run before that."""
    left_out = [f"--exclude=./usr/share/{name}/*" for name in _LEFT_OUT]
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
    ) as reading:
        done = subprocess.run(
            ["tar", "-x", "--keep-directory-symlink", "-C", str(root), *left_out],
            stdin=reading.stdout,
            capture_output=True,
            text=True,
            check=False,
            timeout=debian.APT_SECONDS,
        )
    if done.returncode or reading.returncode:
        raise golang.ToolchainError(f"{package.name} cannot be unpacked:\n{done.stderr}")


def _install(root: Path, packages: Sequence[Path]) -> None:
    for name in ("null", "urandom"):
        (root / "dev" / name).touch()
    inside = [f"/{package.relative_to(root)}" for package in packages]
    unshare = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    debian.run([*unshare, "sh", "-euc", _INSTALL, "sh", str(root), *inside])


def _take_from_host(root: Path) -> None:
    """Ask the mirrors this host asks for packages, and trust the authorities it trusts."""
    for name in _SOURCES:
        if (Path("/") / name).is_file():
            text = (Path("/") / name).read_text()
            (root / name).write_text(_PASSWORD.sub("//", text))
    if (Path("/") / AUTHORITIES).is_file():
        shutil.copyfile(Path("/") / AUTHORITIES, root / AUTHORITIES)
