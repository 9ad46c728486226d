"""Usage: python -m bench.by_hand up SITE.json WORKERS | add SITE.json SLOT | down SITE.json.

`up` returns when everything is started and applied; the caller asks the edge until it answers.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

from bench.by_hand import control_plane, host, keys, layout, machines
from bench.by_hand.layout import Machine, Site

POLL_SECONDS = 0.05
WAIT_SECONDS = 120


def up(site: Site, workers: int) -> None:
    """Make the whole cluster; what does not need one another goes on at once."""
    nodes = [layout.machine(slot) for slot in range(workers + 1)]
    host.make_network()
    authority = control_plane.make_keys(site)
    control_plane.write_files(site)
    _start(site, "etcd", control_plane.etcd(site))
    _start(site, "kube-apiserver", control_plane.api_server(site))
    _start(site, "registry", control_plane.registry(site))
    _start(site, "caddy", control_plane.edge(site))
    with futures.ThreadPoolExecutor() as pool:
        tasks = [pool.submit(_push, site, image) for image in site.images]
        tasks += [pool.submit(_add, site, node, authority) for node in nodes]
        _wait(lambda: _answers(f"{layout.API}/readyz", authority), "API server")
        (site.dir / "api-ready").touch()  # the machines' kubelets look for it
        _start(site, "kube-controller-manager", control_plane.controller_manager(site))
        _start(site, "kube-scheduler", control_plane.scheduler(site))
        _start(site, "coredns", control_plane.dns(site))
        _kubectl(site, "apply", "-f", str(control_plane.manifests()))
        for task in tasks:
            task.result()


def add(site: Site, slot: int) -> None:
    """Add one machine."""
    _add(site, layout.machine(slot), keys.load_authority(site.dir / "pki" / "ca"))


def down(site: Site) -> None:
    """End and remove everything."""
    host.end_processes(str(site.dir))
    host.remove_all()
    shutil.rmtree(site.dir, ignore_errors=True)


def _add(site: Site, machine: Machine, authority: keys.Authority) -> None:
    machines.write_files(site, machine, authority)
    host.make_machine(machine)
    enter = ["nsenter", f"--net={machine.netns}"]
    unshare = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
    script = [
        "sh",
        str(Path(__file__).with_name("machine.sh")),
        machine.name,
        machine.address,
        str(site.machine_dir(machine)),
        str(site.dir / "api-ready"),
        str(site.programs["containerd"].parent),
        str(site.programs["kubelet"].parent),
    ]
    _start(site, machine.name, [*enter, *unshare, *script])


def _start(site: Site, name: str, command: list[str]) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(site.dir),
        layout.MARKER: str(site.dir),
    }
    with (site.dir / f"{name}.log").open("wb") as log:
        subprocess.Popen(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _push(site: Site, image: str) -> None:
    _wait(lambda: _answers(f"http://127.0.0.1:{layout.REGISTRY_PORT}/healthz"), "registry")
    command = control_plane.push_command(site, image)
    subprocess.run(command, check=True, capture_output=True)


def _kubectl(site: Site, *arguments: str) -> None:
    kubeconfig = site.dir / "pki" / "admin.kubeconfig"
    command = [site.program("kubectl"), f"--kubeconfig={kubeconfig}", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _answers(url: str, authority: keys.Authority | None = None) -> bool:
    context = ssl.create_default_context(cafile=f"{authority.stem}.crt") if authority else None
    try:
        with urllib.request.urlopen(url, timeout=5, context=context):  # noqa: S310 - our own
            return True
    except OSError:
        return False


def _wait(is_ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is not ready after {WAIT_SECONDS} s")
        time.sleep(POLL_SECONDS)


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    action, file, *rest = arguments
    site = layout.read(Path(file))
    if action == "up":
        up(site, int(rest[0]))
    elif action == "add":
        add(site, int(rest[0]))
    elif action == "down":
        down(site)
    else:
        raise SystemExit(f"unknown action {action!r}")


if __name__ == "__main__":
    main(sys.argv[1:])
