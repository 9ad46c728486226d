"""Fills a build cache of Go with what one build asks for: from another cache where it is there.

Run by `go` as its GOCACHEPROG: asked on standard input, it answers on standard output. Source:
cmd/go/internal/cacheprog (the protocol) and cmd/go/internal/cache (the layout of the folder).
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_COMMANDS = ("get", "put", "close")


class Recorder:
    """Answers from the folder *known*, and keeps all that was asked for or made in *made*."""

    def __init__(self, known: Path, made: Path) -> None:
        self._known, self._made = known, made

    def answer(self, asked: dict[str, Any], body: bytes) -> dict[str, Any]:
        """Answer one request."""
        action = base64.b64decode(asked.get("ActionID") or "").hex()
        if asked["Command"] == "get":
            found = _read(self._known, action)
            if found is None:
                return {"Miss": True}
            output, content = found
            path = self._keep(action, output, content)
            told = base64.b64encode(bytes.fromhex(output)).decode()
            return {"OutputID": told, "Size": len(content), "DiskPath": str(path)}
        if asked["Command"] == "put":
            output = base64.b64decode(asked.get("OutputID") or asked["ObjectID"]).hex()
            return {"DiskPath": str(self._keep(action, output, body))}
        return {}

    def _keep(self, action: str, output: str, content: bytes) -> Path:
        # Without the time: what was asked for tells nothing of when.
        entry = f"v1 {action} {output} {len(content):20d} {0:20d}\n"
        _write(_path(self._made, action, "a"), entry.encode())
        path = _path(self._made, output, "d")
        _write(path, content)
        return path


def _path(folder: Path, digest: str, kind: str) -> Path:
    return folder / digest[:2] / f"{digest}-{kind}"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _read(folder: Path, action: str) -> tuple[str, bytes] | None:
    """Return digest and content of what an action made; nothing unless all of it is there."""
    try:
        _, _, output, size, _ = _path(folder, action, "a").read_text().split()
        content = _path(folder, output, "d").read_bytes()
    except (OSError, ValueError):
        return None
    return (output, content) if len(content) == int(size) else None


def _requests() -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield requests with the bytes that follow them."""
    lines = (line for line in sys.stdin if line.strip())
    for line in lines:
        asked = json.loads(line)
        has_body = asked["Command"] == "put" and asked.get("BodySize")
        yield asked, base64.b64decode(json.loads(next(lines))) if has_body else b""


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve the caches named on the command line."""
    recorder = Recorder(Path(sys.argv[1]), Path(sys.argv[2]))
    _say({"ID": 0, "KnownCommands": _COMMANDS})
    for asked, body in _requests():
        _say({"ID": asked["ID"], **recorder.answer(asked, body)})


if __name__ == "__main__":
    main()
