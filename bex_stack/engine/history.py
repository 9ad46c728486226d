"""What was done to a stack and when, as the CLI's file backend keeps it: `pulumi stack history`.

Two files per run: what it was (`.history.json`) and the state after it (`.checkpoint.json`).
"""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bex_stack.engine import backend

MAX_RUNS = 100
"""How many runs are kept; the CLI keeps all, but `up` is run often."""
KINDS = {"up": "update", "destroy": "destroy", "refresh": "refresh"}


def record(
    files: backend.StackFiles,
    verb: str,
    started: float,
    config: Mapping[str, Any],
    changes: Mapping[str, int],
    *,
    failed: bool,
) -> None:
    """Add a run that began at *started* (seconds of the epoch) and has just ended.

    *config* holds secrets encrypted, as the stack file does.
    """
    if not files.state.exists():
        return
    entry = {
        "kind": KINDS[verb],
        "startTime": int(started),
        "message": "",
        "environment": {"exec.kind": "bex"},
        "config": dict(config),
        "version": 0,
        "result": "failed" if failed else "succeeded",
        "endTime": int(time.time()),
        "resourceChanges": dict(sorted(changes.items())),
    }
    files.history.mkdir(parents=True, exist_ok=True, mode=0o700)
    stem = files.history / f"{files.stack}-{time.time_ns()}"
    _write(stem.with_name(f"{stem.name}.history.json"), json.dumps(entry))
    checkpoint = stem.with_name(f"{stem.name}.checkpoint.json")
    checkpoint.touch(mode=0o600)
    shutil.copyfile(files.state, checkpoint)
    _prune(files.history)


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _prune(folder: Path) -> None:
    for old in sorted(folder.glob("*.history.json"))[:-MAX_RUNS]:
        for path in folder.glob(f"{old.name.removesuffix('.history.json')}.*"):
            path.unlink(missing_ok=True)
