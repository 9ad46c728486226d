"""Mounts that this process sees: which file system a folder lies on, undoing what lies below."""

from __future__ import annotations

import subprocess
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")
_COMMAND_SECONDS = 60


def parse(mountinfo: str) -> list[tuple[Path, str]]:
    """Mount points and file-system types, in the order they were mounted (proc(5), mountinfo)."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        target = before.split()[4].encode().decode("unicode_escape")  # blanks stand as \040
        found.append((Path(target), after.split()[0]))
    return found


def file_system(path: Path) -> str:
    """Type of the file system *path* lies on, `ext4` for example."""
    resolved = path.resolve()
    holding = [each for each in parse(_MOUNTINFO.read_text()) if resolved.is_relative_to(each[0])]
    # Of mounts on one point the last covers the others.
    return max(enumerate(holding), key=lambda item: (len(item[1][0].parts), item[0]))[1][1]


def below(folder: Path) -> list[Path]:
    """Mount points at and below *folder*, the deepest first."""
    resolved = folder.resolve()
    targets = [path for path, _ in parse(_MOUNTINFO.read_text()) if path.is_relative_to(resolved)]
    return sorted(targets, key=lambda path: len(path.parts), reverse=True)


def unmount_below(folder: Path) -> None:
    """Unmount everything at and below *folder*, the deepest first."""
    for path in below(folder):
        subprocess.run(
            ["umount", "--lazy", str(path)],
            check=True,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
        )
