"""The instance's supervisord: started, told what to keep running, asked, stopped.

One daemon per instance, which outlives the command that started it. Everything here observes and
mends: calling it again changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import resource
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bex_stack.embedded import disk, orphans, processes
from bex_stack.embedded import instance as instances

START_SECONDS = 60.0
RPC_SECONDS = 60.0
"""Longer than the longest stop_seconds of a process: a stop answers when it is done."""
_OPEN_FILES = 65536
_ENDED = ("STOPPED", "FATAL", "UNKNOWN")
"""States that a process does not leave by itself."""
_BAD_NAME, _ALREADY_STARTED, _NOT_RUNNING, _ALREADY_ADDED = 10, 60, 70, 90  # its Faults


class SupervisionError(RuntimeError):
    """supervisord could not be started or refused an order."""


def is_running(instance: instances.Instance) -> bool:
    """Whether the instance's supervisord answers."""
    try:
        with _server(instance, timeout_seconds=5) as server:
            server.supervisor.getState()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return False
    return True


def ensure_running(instance: instances.Instance) -> None:
    """Start supervisord unless it answers; a new one begins with no process.

    Processes left by one that was killed are ended first: they could not be adopted, and would
    hold the ports of their successors.

    Raises: SupervisionError.
    """
    for folder in (instance.dir, instance.run_dir, instance.log_dir, instance.etc_dir):
        disk.ensure_dir(folder)
    with _lock(instance):
        if is_running(instance):
            return
        _refuse_if_elsewhere(instance)
        orphans.kill(instance.name)
        _forget_programs(instance)
        instance.supervisor_socket.unlink(missing_ok=True)
        hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        config = instance.etc_dir / "supervisord.conf"
        disk.ensure_file(
            config,
            processes.render_supervisord(instance, open_files=min(hard_limit, _OPEN_FILES)),
        )
        _start(instance, [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)])


def ensure(instance: instances.Instance, wanted: Sequence[processes.Process]) -> list[str]:
    """Let supervisord keep exactly these versions of *wanted*; leave all others alone.

    Returns the names of those that were new, changed or not running.

    Raises: SupervisionError.
    """
    ensure_running(instance)
    with _lock(instance), _server(instance) as server:
        for process in wanted:
            _write(instance, process)
        added, changed, _ = _reload(server)
        touched = [p.name for p in wanted if p.name in added or p.name in changed]
        _unload(server, [name for name in touched if name in changed])
        ordered = sorted(wanted, key=lambda process: process.priority)
        for process in ordered:
            if process.name in touched:
                _call(server.supervisor.addProcessGroup, process.name, ignore=(_ALREADY_ADDED,))
        alive = {name for name, state in states(instance).items() if state.is_alive}
        started = [process.name for process in ordered if process.name not in alive]
        for name in started:
            _call(server.supervisor.startProcess, name, False, ignore=(_ALREADY_STARTED,))
    return sorted({*touched, *started})


def pending(instance: instances.Instance, wanted: Sequence[processes.Process]) -> list[str]:
    """Names of those that `ensure` would start, because they changed or do not run."""
    changed = [
        process.name
        for process in wanted
        if any(
            disk.read(path) != text.encode() for path, text in _render(instance, process).items()
        )
    ]
    return sorted({*changed, *missing(instance, [process.name for process in wanted])})


def unsettled(instance: instances.Instance, wanted: Sequence[processes.Process]) -> list[str]:
    """What `ensure` would mend about *wanted*, in words."""
    stopped = set(missing(instance, [process.name for process in wanted]))
    return [
        f"{name} does not run" if name in stopped else f"{name} runs in an older version"
        for name in pending(instance, wanted)
    ]


def remove(instance: instances.Instance, names: Iterable[str]) -> None:
    """Stop these processes and forget them; names that are not known are no error."""
    names = list(names)
    with _lock(instance):
        for name in names:
            processes.program_file(instance, name).unlink(missing_ok=True)
            processes.script_file(instance, name).unlink(missing_ok=True)
        if is_running(instance):
            with _server(instance) as server:
                _unload(server, names)


def stop(instance: instances.Instance, names: Iterable[str]) -> None:
    """Stop these processes until the next `ensure`."""
    with _server(instance) as server:
        _stop(server, list(names))


def states(instance: instances.Instance) -> dict[str, processes.State]:
    """State of every process supervisord keeps; empty when it does not run."""
    try:
        with _server(instance, timeout_seconds=10) as server:
            infos: Any = server.supervisor.getAllProcessInfo()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return {}
    return {info["name"]: _state(info) for info in infos}


def missing(instance: instances.Instance, names: Iterable[str]) -> list[str]:
    """Those of *names* that do not run now."""
    known = states(instance)
    return [name for name in names if name not in known or not known[name].is_alive]


def shut_down(instance: instances.Instance, *, timeout_seconds: float = 60.0) -> None:
    """Stop all processes and supervisord itself, whatever state they are in.

    Raises: orphans.NotEnded, SupervisionError.
    """
    _refuse_if_elsewhere(instance)
    with contextlib.suppress(OSError, http.client.HTTPException, xmlrpc.client.Error):
        with _server(instance) as server:
            server.supervisor.shutdown()
        deadline = time.monotonic() + timeout_seconds
        while is_running(instance) and time.monotonic() < deadline:
            time.sleep(0.05)
    orphans.kill(instance.name)


def log_tail(instance: instances.Instance, name: str, *, lines: int = 15) -> str:
    """Last lines of a process's log, for the message of a failed wait."""
    data = disk.read(processes.log_file(instance, name)) or b""
    return "\n".join(data[-64_000:].decode(errors="replace").splitlines()[-lines:])


def _refuse_if_elsewhere(instance: instances.Instance) -> None:
    """What is found by name alone must not be ended when it belongs to another BEX_HOME."""
    other = orphans.elsewhere(instance.name, instance.dir)
    if other is not None:
        raise SupervisionError(
            f"instance {instance.name!r} of this host runs from {other}, not from {instance.dir}"
        )


def _start(instance: instances.Instance, command: list[str]) -> None:
    output = instance.log_dir / "supervisord.start.log"
    with output.open("wb") as log:
        started = subprocess.run(  # it puts itself into the background
            command,
            env=processes.environment_of(instance),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            timeout=START_SECONDS,
            check=False,
        )
    deadline = time.monotonic() + START_SECONDS
    while started.returncode == 0 and time.monotonic() < deadline:
        if is_running(instance):
            return
        time.sleep(0.02)
    reason = (disk.read(output) or b"").decode(errors="replace").strip()[-600:]
    raise SupervisionError(
        f"supervisord of instance {instance.name!r} does not answer on "
        f"{instance.supervisor_socket} after {START_SECONDS:.0f} s: {reason or 'no output'}"
    )


def _write(instance: instances.Instance, process: processes.Process) -> None:
    for path, text in _render(instance, process).items():
        disk.ensure_file(path, text, mode=0o700 if path.suffix == ".sh" else disk.PRIVATE_FILE)


def _render(instance: instances.Instance, process: processes.Process) -> dict[Path, str]:
    """The script and the section of *process* by where they lie; the section names the inputs."""
    script = processes.script_file(instance, process.name)
    text = processes.render_script(process)
    digest = hashlib.sha256(text.encode())
    for path in process.inputs:
        digest.update(disk.read(path) or b"")
    section = processes.render_program(
        process,
        script=script,
        log_file=processes.log_file(instance, process.name),
        digest=digest.hexdigest()[:16],
    )
    return {script: text, processes.program_file(instance, process.name): section}


def _forget_programs(instance: instances.Instance) -> None:
    folder = disk.ensure_dir(processes.programs_dir(instance))
    for path in (*folder.glob("*.conf"), *folder.glob("*.sh")):
        path.unlink(missing_ok=True)


def _reload(server: xmlrpc.client.ServerProxy) -> tuple[list[str], list[str], list[str]]:
    answer: Any = _call(server.supervisor.reloadConfig)
    added, changed, removed = answer[0]
    return added, changed, removed


def _unload(server: xmlrpc.client.ServerProxy, names: Iterable[str]) -> None:
    names = list(names)
    _stop(server, names)
    for name in names:
        _call(server.supervisor.removeProcessGroup, name, ignore=(_BAD_NAME,))


def _stop(server: xmlrpc.client.ServerProxy, names: list[str]) -> None:
    """Stop all at once: supervisord looks for ended processes once a second, or when asked.

    One that ends before it is told to is started anew (a machine takes its programs along), so
    whoever runs is told again; one just forked is not yet itself and would lose the signal.
    """
    keeper: Any = _call(server.supervisor.getPID)
    deadline = time.monotonic() + RPC_SECONDS
    while going := _not_ended(server, names):
        if time.monotonic() > deadline:
            listed = sorted(info["name"] for info in going)
            raise SupervisionError(f"processes {listed} do not stop within {RPC_SECONDS:.0f} s")
        for info in going:
            if info["pid"] and _command_of(info["pid"]) == _command_of(keeper):
                continue
            ignore = (_NOT_RUNNING, _BAD_NAME)
            _call(server.supervisor.stopProcess, info["name"], False, ignore=ignore)
        time.sleep(0.02)


def _not_ended(server: xmlrpc.client.ServerProxy, names: list[str]) -> list[dict[str, Any]]:
    infos: Any = _call(server.supervisor.getAllProcessInfo)
    return [i for i in infos if i["name"] in names and i["statename"] not in _ENDED]


def _command_of(pid: int) -> bytes | None:
    return disk.read(Path(f"/proc/{pid}/cmdline"))


def _call(method: Any, *arguments: object, ignore: tuple[int, ...] = ()) -> object:
    try:
        return method(*arguments)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode in ignore:
            return None
        raise SupervisionError(f"supervisord refused {arguments}: {fault.faultString}") from fault
    except (OSError, http.client.HTTPException) as exc:
        raise SupervisionError(f"supervisord does not answer: {exc}") from exc


def _state(info: dict[str, Any]) -> processes.State:
    running = info["statename"] == "RUNNING"
    return processes.State(
        name=info["name"],
        state=info["statename"],
        pid=info["pid"],
        uptime_seconds=max(0, info["now"] - info["start"]) if running else 0,
        detail=info["description"],
    )


def _lock(instance: instances.Instance) -> contextlib.AbstractContextManager[None]:
    """One change of supervisord's programs at a time: reloading reads all of them."""
    return disk.locked(instance.run_dir / "supervisor.lock")


def _server(
    instance: instances.Instance, *, timeout_seconds: float = RPC_SECONDS
) -> xmlrpc.client.ServerProxy:
    transport = _UnixTransport(str(instance.supervisor_socket), timeout_seconds)
    return xmlrpc.client.ServerProxy("http://supervisor/RPC2", transport=transport)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, with a timeout."""

    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("supervisor", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        """Reach the socket file instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket; each ServerProxy has its own, so threads share nothing."""

    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__()
        self._path, self._timeout_seconds = path, timeout_seconds

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        """Return the one that is open, or a new one, where `close` finds it."""
        connection = self._connection[1]
        if connection is None:
            connection = _UnixConnection(self._path, self._timeout_seconds)
            self._connection = "supervisor", connection
        return connection
