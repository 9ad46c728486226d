"""Tries in namespaces of its own what machines need of the kernel; prints `{feature: error}`.

Run as `unshare --net --mount --uts --pid --ipc --fork --kill-child python -m …kernel_probe`: all it
makes goes with its namespaces. Imports next to nothing, so that it starts fast.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bex_stack.embedded import netlink

MS_REC_PRIVATE = 0x4000 | 0x40000
"""MS_REC | MS_PRIVATE of mount(2)."""

_libc = ctypes.CDLL(None, use_errno=True)


def probe(scratch: str) -> dict[str, str]:
    """Return what does not work and why; *scratch* is a folder on the disk that images use."""
    tried: dict[str, Callable[[], None]] = {
        "overlayfs": lambda: _try_overlay(scratch),
        "veth": lambda: _try_link("veth"),
        "bridge": lambda: _try_link("bridge"),
    }
    found = {}
    for feature, attempt in tried.items():
        try:
            attempt()
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the answer
            found[feature] = f"{type(exc).__name__}: {exc}"
    return found


def _try_overlay(scratch: str) -> None:
    _mount(None, "/", None, MS_REC_PRIVATE, None)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".overlay-") as made:
        folders = {name: Path(made) / name for name in ("lower", "upper", "work", "merged")}
        for folder in folders.values():
            folder.mkdir()
        merged = str(folders["merged"])
        options = "lowerdir={lower},upperdir={upper},workdir={work}".format_map(folders)
        _mount("overlay", merged, "overlay", 0, options)
        if _libc.umount2(merged.encode(), 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _try_link(kind: str) -> None:
    with netlink.Netlink() as links:
        if kind == "veth":
            links.add_cable("bexprobe0", peer="bexprobe1")
        else:
            links.add_bridge("bexprobe0")
        links.delete_link(socket.if_nametoindex("bexprobe0"))


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None
) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind)]
    data = None if options is None else options.encode()
    if _libc.mount(*encoded, ctypes.c_ulong(flags), data) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe(sys.argv[1])))
