"""What a supervised process is, and how supervisord is told about it. Pure: values to text."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bex_stack.embedded import instance as instances

LOG_BYTES = "10MB"
LOG_BACKUPS = 3
SUPERVISED = "BEX_SUPERVISED"
"""Second half of the marker: a user's shell may well hold BEX_INSTANCE, never this one."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_ENDLESS = 1_000_000_000
"""Start attempts: supervisor waits one second more after each failure, but must never give up."""


@dataclass(frozen=True, slots=True)
class Process:
    """One program that supervisord keeps running."""

    name: str
    """Letters, digits, dashes; also the name of its log file."""
    command: tuple[str, ...]
    """Program (absolute path) and arguments; never a secret among them."""
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = Path("/")
    inputs: tuple[Path, ...] = ()
    """Files read at start only: when their content changes, the process is started anew."""
    stop_signal: Literal["TERM", "INT", "KILL"] = "TERM"
    stop_seconds: int = 10
    """Patience after the stop signal before KILL."""
    priority: int = 500
    """Lower starts first and stops last when all start or stop together."""


@dataclass(frozen=True, slots=True)
class State:
    """What supervisord says of one process."""

    name: str
    state: str
    """STARTING, RUNNING, BACKOFF, STOPPING, STOPPED, EXITED or FATAL."""
    pid: int
    """0 while it does not run."""
    uptime_seconds: int
    detail: str

    @property
    def is_alive(self) -> bool:
        """Runs now; STARTING counts, it is RUNNING after one second."""
        return self.state in ("STARTING", "RUNNING") and self.pid > 0


def environment_of(instance: instances.Instance) -> dict[str, str]:
    """The whole environment of supervisord, and the base of every process it keeps."""
    return {
        "PATH": PATH,
        "HOME": "/root" if instance.kind == "real" else str(instance.dir),
        instances.MARKER: instance.name,
        instances.FOLDER_MARKER: str(instance.dir),
        SUPERVISED: "1",
    }


def render_supervisord(instance: instances.Instance, *, open_files: int) -> str:
    """Configuration of the instance's supervisord; programs are included from a folder."""
    here = {
        key: _escape(str(path))
        for key, path in {
            "socket": instance.supervisor_socket,
            "log": instance.log_dir / "supervisord.log",
            "pid": instance.run_dir / "supervisord.pid",
            "logs": instance.log_dir,
            "programs": programs_dir(instance) / "*.conf",
        }.items()
    }
    return f"""\
[unix_http_server]
file={here["socket"]}
chmod=0700

[supervisord]
identifier=bex-{instance.name}
logfile={here["log"]}
logfile_maxbytes={LOG_BYTES}
logfile_backups={LOG_BACKUPS}
pidfile={here["pid"]}
childlogdir={here["logs"]}
directory=/
minfds={open_files}
umask=022

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files={here["programs"]}
"""


def render_script(process: Process) -> str:
    """The shell script that becomes *process*.

    supervisor's own syntax for commands and environments cannot write every value (line breaks,
    quotes, blanks before `;` and `#`); the shell's can.
    """
    exports = [
        f"export {key}={shlex.quote(value)}" for key, value in sorted(process.environment.items())
    ]
    lines = [
        "#!/bin/sh",
        f"cd {shlex.quote(str(process.directory))} || exit 1",
        *exports,
        f"exec {shlex.join(process.command)}",
    ]
    return "\n".join(lines) + "\n"


def render_program(process: Process, *, script: Path, log_file: Path, digest: str) -> str:
    """The `[program:x]` section of *process*; a changed *digest* starts it anew."""
    return f"""\
[program:{process.name}]
command=/bin/sh {_escape(str(script))}
environment=BEX_INPUTS="{digest}"
autostart=true
autorestart=true
startsecs=1
startretries={_ENDLESS}
stopsignal={process.stop_signal}
stopwaitsecs={process.stop_seconds}
stopasgroup=true
killasgroup=true
priority={process.priority}
redirect_stderr=true
stdout_logfile={_escape(str(log_file))}
stdout_logfile_maxbytes={LOG_BYTES}
stdout_logfile_backups={LOG_BACKUPS}
"""


def programs_dir(instance: instances.Instance) -> Path:
    """Where supervisord finds one file per process."""
    return instance.etc_dir / "programs"


def program_file(instance: instances.Instance, name: str) -> Path:
    """What supervisord reads about the process *name*."""
    return programs_dir(instance) / f"{name}.conf"


def script_file(instance: instances.Instance, name: str) -> Path:
    """What supervisord runs for the process *name*."""
    return programs_dir(instance) / f"{name}.sh"


def log_file(instance: instances.Instance, name: str) -> Path:
    """The log of the process *name*; older parts end in .1, .2, .3."""
    return instance.log_dir / f"{name}.log"


def _escape(text: str) -> str:
    """Protect what supervisor's parser would expand; Instance keeps blanks out of paths."""
    return text.replace("%", "%%")
