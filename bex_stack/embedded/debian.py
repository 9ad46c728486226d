"""Python as a folder tree made of this Debian's packages: the base of images that need one.

apt chooses, downloads and checks the packages as for an empty system; nothing is installed on the
host. Only what Python needs at run time is kept.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from bex_stack.embedded import golang

APT_SECONDS = 300
LOCK_SECONDS = 120
PYTHON = "/usr/bin/python3"
NOTHING_INSTALLED = Path("/dev/null")

PACKAGES = ("python3-minimal", "libpython3-stdlib", "ca-certificates", "libgcc-s1")
UNUSED = (
    # For installing packages, which nobody does in an image.
    *("dpkg", "tar", "debconf", "openssl", "perl-base", "readline-common", "gcc-", "media-types"),
    *("libacl1", "libmd0", "libpcre2", "libselinux1", "libzstd1", "libtirpc-common"),
    # For modules that a server has no use for: curses, dbm, nis, readline, sqlite3.
    *("libcom-err2", "libdb5", "libgssapi", "libk5crypto", "libkeyutils", "libkrb5", "libncurses"),
    *("libnsl2", "libreadline", "libsqlite3", "libtinfo", "libtirpc3"),
)
"""Beginnings of the names of packages that the others depend on and that are left out."""
_LEFT_OUT = (
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/info"),
    *("usr/share/applications", "usr/share/pixmaps", "usr/share/python3", "usr/sbin", "etc/init.d"),
)
_LEFT_OUT_ANYWHERE = frozenset({"gconv", "idlelib", "lib2to3", "pydoc_data", "turtledemo"})
MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
"""Folders that are links into /usr on today's systems, whatever a package says."""
_AUTHORITIES = "usr/share/ca-certificates"
_FILES = {
    "etc/passwd": "root:x:0:0::/:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n",
    "etc/group": "root:x:0:\nnonroot:x:65532:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def release() -> str:
    """Name the system whose packages are taken, and its processors: `debian 12 x86_64`."""
    system = platform.freedesktop_os_release()
    return f"{system.get('ID')} {system.get('VERSION_ID')} {platform.machine()}"


def make_python(root: Path, *, tell: Callable[[str], None]) -> None:
    """Fill the empty folder *root* with a Python that runs there, compiled.

    Raises: ToolchainError.
    """
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=".packages-") as folder:
        for package in download(PACKAGES, Path(folder), tell=tell):
            if not package.name.startswith(UNUSED):
                _unpack(package, root)
    for name in MERGED:
        if (root / "usr" / name).is_dir():
            (root / name).symlink_to(f"usr/{name}")
    for name in ("dev", "etc", "proc", "run", "sys", "tmp", "var"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "var/run").symlink_to("/run")
    for name, text in _FILES.items():
        (root / name).write_text(text)
    _join_authorities(root)
    compile_modules(root, "/usr/lib")


def compile_modules(root: Path, folder: str) -> None:
    """Compile the modules below *folder* with the Python of *root*: a pod's disk is read-only."""
    how = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", folder)
    run_inside(root, *how)


def run_inside(root: Path, *arguments: str) -> str:
    """Run the Python of *root*; return what it printed.

    Raises: ToolchainError.
    """
    return run(["chroot", str(root), PYTHON, *arguments], env={"PYTHONPATH": "/opt/bex/lib"})


def python_version(root: Path) -> str:
    """Say which Python lies in *root*: `3.11`."""
    target = (root / PYTHON.lstrip("/")).readlink()
    return target.name.removeprefix("python")


def download(
    packages: Sequence[str],
    folder: Path,
    *,
    tell: Callable[[str], None],
    installed: Path = NOTHING_INSTALLED,
) -> list[Path]:
    """Download *packages* and what they need beyond *installed* (dpkg's status file) to *folder*.

    Raises: ToolchainError.
    """
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise golang.ToolchainError(
                f"images are made of Debian's packages here, and {program} is not on this host; "
                "run the operator from source (bex:operator: source), and name images of a "
                "registry in reach in Dockerfiles"
            )
    try:
        return _fetch(packages, folder, installed)
    except golang.ToolchainError:
        # A fresh machine has no lists of packages, an old one has lists of what is gone.
        tell("asking apt for current lists of packages")
        run(["apt-get", "-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}", "update", "-qq"])
        return _fetch(packages, folder, installed)


def _fetch(packages: Sequence[str], folder: Path, installed: Path) -> list[Path]:
    options = {
        "Dir::State::status": str(installed),
        "Dir::Cache::archives": str(folder),
        "Debug::NoLocking": "1",
        # Its own user could not write into a folder of ours; digests are checked all the same.
        "APT::Sandbox::User": "root",
    }
    (folder / "partial").mkdir(exist_ok=True)
    given = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    how = ("-qq", "-y", "--no-install-recommends", "--download-only", "install")
    run(["apt-get", *given, *how, *packages])
    return sorted(folder.glob("*.deb"))


def _unpack(package: Path, root: Path) -> None:
    with (
        subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
        ) as reading,
        tarfile.open(fileobj=reading.stdout, mode="r|") as archive,
    ):
        for member in archive:
            _place(archive, member, root)
    if reading.returncode != 0:
        raise golang.ToolchainError(f"{package.name} cannot be unpacked: dpkg-deb failed")


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    name = _merged(PurePosixPath(member.name))
    if str(name).startswith(_LEFT_OUT) or _LEFT_OUT_ANYWHERE & set(name.parts):
        return
    target = root / name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        os.link(root / _merged(PurePosixPath(member.linkname)), target)
    elif content := archive.extractfile(member):
        target.write_bytes(content.read())
        target.chmod(member.mode)


def _merged(name: PurePosixPath) -> PurePosixPath:
    return PurePosixPath("usr") / name if name.parts and name.parts[0] in MERGED else name


def _join_authorities(root: Path) -> None:
    """Make the bundle that ca-certificates' own script would make."""
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    found = sorted((root / _AUTHORITIES).rglob("*.crt"))
    bundle.write_bytes(b"".join(file.read_bytes() for file in found))


def run(command: list[str], *, env: Mapping[str, str] = MappingProxyType({})) -> str:
    """Run a program of the recipe; return what it printed.

    Raises: ToolchainError.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=APT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", **env},
        )
    except subprocess.TimeoutExpired as exc:
        raise golang.ToolchainError(
            f"{shlex.join(command)} was not done within {APT_SECONDS} s"
        ) from exc
    if done.returncode != 0:
        raise golang.ToolchainError(
            f"{shlex.join(command)} failed:\n{golang.last_lines(done.stdout + done.stderr)}"
        )
    return done.stdout
