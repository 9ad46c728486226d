"""The supervised processes of a machine. Pure.

A machine is a network namespace and one process, its init, that holds its other namespaces;
containerd, kubelet and kube-proxy are supervised, too, and enter them. Whatever is killed comes
back: a program alone, or with its init the whole machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bex_stack.embedded import instance as instances
from bex_stack.embedded import machine_config, network, processes

PROGRAMS = ("containerd", "kubelet", "kube-proxy")
_INIT = Path(__file__).with_name("machine_init.sh")
_ENTER = Path(__file__).with_name("machine_enter.sh")
_UNSHARE = ("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child")


def names(machine: str) -> tuple[str, ...]:
    """Names of the supervised processes of *machine*: its init first."""
    return (machine, *(f"{machine}-{program}" for program in PROGRAMS))


def render(
    instance: instances.Instance,
    machine: machine_config.Machine,
    programs: Mapping[str, Path],
    *,
    netns_id: str,
) -> list[processes.Process]:
    """All processes of *machine*, those first that need no API server.

    *programs* are its binaries on the host by name. *netns_id* tells network namespaces apart: in
    a new one the machine is started anew.
    """
    folder = instance.machine_dir(machine.name)
    config, keys = folder / "containerd-config", folder / "kubernetes"
    kubernetes = machine_config.KUBERNETES_BIN
    kubelet = (f"{kubernetes}/kubelet", *machine_config.kubelet_flags(instance, machine))
    proxy = (f"{kubernetes}/kube-proxy", "--config=/etc/kubernetes/kube-proxy.yaml")
    return [
        _init(instance, machine, programs, netns_id),
        _inside(
            instance,
            machine,
            (f"{machine_config.MACHINE_BIN}/containerd",),
            inputs=(config / "config.toml",),
        ),
        _inside(
            instance,
            machine,
            kubelet,
            inputs=tuple(
                keys / name
                for name in ("kubelet.yaml", "kubelet.kubeconfig", "kubelet.crt", "ca.crt")
            ),
            needs=machine_config.CONTAINERD_SOCKET,
        ),
        _inside(
            instance,
            machine,
            proxy,
            inputs=(keys / "kube-proxy.yaml", keys / "kube-proxy.kubeconfig"),
        ),
    ]


def _init(
    instance: instances.Instance,
    machine: machine_config.Machine,
    programs: Mapping[str, Path],
    netns_id: str,
) -> processes.Process:
    folder = instance.machine_dir(machine.name)
    enter = ("nsenter", f"--net={network.netns_file(instance, machine.name)}", *_UNSHARE)
    cgroup = instance.cgroup(machine.name)
    # Where the programs lie names their version: a new one starts the machine anew.
    bins = (str(programs["kubelet"].parent), str(programs["containerd"].parent))
    return processes.Process(
        machine.name,
        (*enter, "/bin/sh", str(_INIT), machine.name, str(folder), cgroup, *bins),
        environment={"BEX_NETNS": netns_id},
        inputs=(_INIT, folder / "etc" / "resolv.conf", folder / "etc" / "hosts"),
        # It has nothing to put in order, and unshare(1) passes no gentler signal on.
        stop_signal="KILL",
        priority=100,
    )


def _inside(
    instance: instances.Instance,
    machine: machine_config.Machine,
    command: tuple[str, ...],
    *,
    inputs: tuple[Path, ...],
    needs: str = "",
) -> processes.Process:
    folder = instance.machine_dir(machine.name)
    netns = network.netns_file(instance, machine.name)
    return processes.Process(
        f"{machine.name}-{Path(command[0]).name}",
        ("/bin/sh", str(_ENTER), str(folder), str(netns), *command),
        environment={"BEX_NEEDS": needs} if needs else {},
        inputs=(_ENTER, *inputs),
        priority=110,
    )
