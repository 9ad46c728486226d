"""The stack's lock file, as the CLI's file backend keeps it: one file per holder.

Both sides write their own file first and then look for others, so two runs never both go on.
"""

import contextlib
import datetime
import getpass
import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from bex_stack.engine import errors

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def held(directory: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock in `directory` for the block; `say` is told about stale locks taken over.

    Raises: StateLocked when another live run holds it.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / f"{uuid.uuid4()}.json"
    _check(directory, path, say)
    path.write_text(
        json.dumps(
            {
                "pid": os.getpid(),
                "username": getpass.getuser(),
                "hostname": socket.gethostname(),
                "timestamp": datetime.datetime.now(datetime.UTC).isoformat(),
            }
        )
    )
    try:
        _check(directory, path, say)
        yield
    finally:
        path.unlink(missing_ok=True)


def _check(directory: Path, own: Path, say: Callable[[str], None]) -> None:
    for other in sorted(directory.glob("*.json")):
        if other == own:
            continue
        try:
            holder = json.loads(other.read_text())
        except FileNotFoundError:
            continue
        except ValueError as exc:
            raise errors.StateLocked(
                f"the lock {other} is not readable; when no other run is working, delete the file"
            ) from exc
        if _is_dead(holder):
            say(f"took over the lock of pid {holder.get('pid')}, which is gone ({other.name})")
            other.unlink(missing_ok=True)
            other.with_name(f"{other.name}.attrs").unlink(missing_ok=True)
            continue
        raise errors.StateLocked(
            f"another run holds the stack: pid {holder.get('pid')} of {holder.get('username')} on "
            f"{holder.get('hostname')} since {holder.get('timestamp')} ({other}); "
            "wait for it to end"
        )


def _is_dead(holder: dict[str, object]) -> bool:
    """Say whether the holder was a process of this host that is gone (or its pid is reused)."""
    pid = holder.get("pid")
    if holder.get("hostname") != socket.gethostname() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _started_after(pid, str(holder.get("timestamp")))


def _started_after(pid: int, timestamp: str) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        taken = datetime.datetime.fromisoformat(timestamp)
    except (OSError, ValueError, IndexError):
        return False
    age = datetime.timedelta(seconds=uptime - int(fields[19]) / _CLOCK_TICKS)
    if taken.tzinfo is None:
        return False
    started = datetime.datetime.now(datetime.UTC) - age
    # Ticks and the two clocks differ by up to a few hundredths of a second.
    return started > taken + datetime.timedelta(seconds=1)
