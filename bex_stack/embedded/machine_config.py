"""What a machine's programs are told: containerd, CNI, kubelet, kube-proxy. Pure."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from bex_stack.embedded import build_network, registry
from bex_stack.embedded import instance as instances

Role = Literal["control-plane", "worker"]
CONTROL_PLANE_TAINT = "node-role.kubernetes.io/control-plane"
PAUSE_IMAGE = "registry.k8s.io/pause:3.10.2"
MACHINE_BIN, KUBERNETES_BIN = "/opt/bex/machine", "/opt/bex/kubernetes"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
POD_PROCESSES = 2048
"""Most processes and threads of a pod: a fork bomb, in an App or in a step of a Dockerfile, ends in
its own pod. Compilers on all cores take a few hundred."""
MIRRORED = {
    "docker.io": "https://registry-1.docker.io",
    "ghcr.io": "https://ghcr.io",
    "quay.io": "https://quay.io",
    "registry.k8s.io": "https://registry.k8s.io",
}
"""Registries asked second, and where the real one is."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine: its name, which is its node's, its place in the network, and its role."""

    name: str
    slot: int
    role: Role = "worker"

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels its kubelet may not give itself."""
        return {f"node-role.kubernetes.io/{self.role}": ""}


def render(instance: instances.Instance, machine: Machine, *, snapshotter: str) -> dict[str, str]:
    """All files of *machine* by their path below its folder."""
    files = {
        "etc/resolv.conf": f"nameserver {instance.bridge_address}\n",
        "etc/hosts": _hosts(instance, machine),
        "cni/10-bex.conflist": _json(_network(instance, machine)),
        "cni-builds/10-builds.conflist": _json(build_network.conflist(instance, machine.slot)),
        # Here as a record: rules that changed are put in place anew.
        "etc/builds.nft": build_network.render_table(instance, machine.slot),
        "containerd-config/config.toml": _containerd(snapshotter),
        "kubernetes/kubelet.yaml": _yaml(_kubelet(instance, machine)),
        "kubernetes/kube-proxy.yaml": _yaml(_kube_proxy(instance, machine)),
    }
    ours = f"http://{registry.machine_endpoint(instance)}"
    for name, real in {registry.KNOWN_AS: ours, **MIRRORED}.items():
        files[f"containerd-config/certs.d/{name}/hosts.toml"] = _mirror(ours, real)
    return files


def kubelet_flags(instance: instances.Instance, machine: Machine) -> tuple[str, ...]:
    """Arguments that have no place in the kubelet's configuration file."""
    return (
        "--config=/etc/kubernetes/kubelet.yaml",
        "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig",
        f"--hostname-override={machine.name}",
        f"--node-ip={instance.machine_address(machine.slot)}",
    )


def _hosts(instance: instances.Instance, machine: Machine) -> str:
    return f"127.0.0.1 localhost\n{instance.machine_address(machine.slot)} {machine.name}\n"


def _network(instance: instances.Instance, machine: Machine) -> dict[str, Any]:
    """CNI 1.0.0: pods on a bridge of the machine; the host masquerades what leaves."""
    # Up to those of pods that build.
    last = ipaddress.IPv4Network(instance.build_cidr(machine.slot))[0] - 1
    ranges = [[{"subnet": instance.pod_cidr(machine.slot), "rangeEnd": str(last)}]]
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "backend": "nftables"}
    return {"cniVersion": "1.0.0", "name": "bex", "plugins": [bridge, portmap]}


def _containerd(snapshotter: str) -> str:
    return f"""\
version = 3

[plugins.'io.containerd.cri.v1.images']
  snapshotter = '{snapshotter}'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '{PAUSE_IMAGE}'
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = '/etc/containerd/certs.d'

[plugins.'io.containerd.cri.v1.runtime']
  # Hosts that are containers themselves refuse lower scores than their own.
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['{MACHINE_BIN}']
  conf_dir = '/etc/cni/net.d'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = '{MACHINE_BIN}/runc'
  SystemdCgroup = false
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.{build_network.HANDLER}]
  runtime_type = 'io.containerd.runc.v2'
  cni_conf_dir = '{build_network.CNI_FOLDER}'
  cni_max_conf_num = 1
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.{build_network.HANDLER}.options]
  BinaryName = '{MACHINE_BIN}/runc'
  SystemdCgroup = false
"""


def _mirror(ours: str, real: str) -> str:
    return f"""\
server = '{real}'

[host.'{ours}']
  capabilities = ['pull', 'resolve']
"""


def _kubelet(instance: instances.Instance, machine: Machine) -> dict[str, Any]:
    """KubeletConfiguration (kubelet.config.k8s.io/v1beta1)."""
    taints = [{"key": CONTROL_PLANE_TAINT, "effect": "NoSchedule"}]
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/etc/kubernetes/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": "/etc/kubernetes/kubelet.crt",
        "tlsPrivateKeyFile": "/etc/kubernetes/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDNS": [instances.DNS_SERVICE_ADDRESS],
        "clusterDomain": instances.CLUSTER_DOMAIN,
        "resolvConf": "/etc/resolv.conf",
        "registerWithTaints": taints if machine.role == "control-plane" else [],
        "maxPods": 110,
        "podPidsLimit": POD_PROCESSES,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "makeIPTablesUtilChains": False,
        # The end of a container is told by containerd, not found by the next look a second later: a
        # build has five in a row. The looks go on (kubelet 1.37, pkg/kubelet/pleg/evented.go).
        "featureGates": {"EventedPLEG": True},
        "serializeImagePulls": False,
        "maxParallelImagePulls": 4,
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 3,
        **_kubelet_groups(instance, machine),
        **_kubelet_limits(),
    }


def _kubelet_groups(instance: instances.Instance, machine: Machine) -> dict[str, Any]:
    """Control groups: the machine's own branch, in either version of the hierarchy."""
    return {
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": instance.cgroup(machine.name),
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
    }


def _kubelet_limits() -> dict[str, Any]:
    """When the kubelet reports, and when it evicts: machines share a disk that may be nearly full.

    The lease is renewed every quarter of its duration; control_plane.NODE_GRACE_SECONDS must
    leave room for several.
    """
    return {
        "nodeStatusUpdateFrequency": "3s",
        "nodeLeaseDurationSeconds": 12,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "300Mi",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "300Mi",
            "imagefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 99,
        "imageGCLowThresholdPercent": 98,
    }


def _kube_proxy(instance: instances.Instance, machine: Machine) -> dict[str, Any]:
    """KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1)."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": "/etc/kubernetes/kube-proxy.kubeconfig"},
        "hostnameOverride": machine.name,
        "bindAddress": instance.machine_address(machine.slot),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "clusterCIDR": str(instance.pod_network),
        # The connection table is the host's; its size is not a machine's to set.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }


def _yaml(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
