#!/usr/bin/python3 -IS
"""runc, for hosts whose own root lacks CAP_SYS_RESOURCE and which cannot give it to a container.

Docker asks for it for every privileged container, and for scores below the host's own; both are
taken out of what runc is told.
"""

import json
import os
import shutil
import sys
from pathlib import Path

LACKING = "CAP_SYS_RESOURCE"


def main(arguments: list[str]) -> None:
    """Mend the bundle or the process that runc is given, then become runc."""
    if "create" in arguments or "run" in arguments:
        mend(Path(option(arguments, "--bundle")) / "config.json", "process")
    elif "exec" in arguments:
        mend(Path(option(arguments, "--process")), None)
    runc = shutil.which("runc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    os.execv(runc or "runc", ["runc", *arguments])  # noqa: S606 - there is no shell to want


def option(arguments: list[str], name: str) -> str:
    """Return the value of *name*, given as the next word."""
    return arguments[arguments.index(name) + 1]


def mend(file: Path, key: str | None) -> None:
    """Take out of *file* what this host refuses."""
    whole = json.loads(file.read_text())
    process = whole if key is None else whole[key]
    for names in process.get("capabilities", {}).values():
        if LACKING in names:
            names.remove(LACKING)
    if process.get("oomScoreAdj", 0) < 0:
        process["oomScoreAdj"] = 0
    file.write_text(json.dumps(whole))


if __name__ == "__main__":
    main(sys.argv[1:])
