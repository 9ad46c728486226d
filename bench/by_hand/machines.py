"""Configuration of a machine: its keys, containerd, CNI, kubelet, kube-proxy."""

from __future__ import annotations

import json
from typing import Any

from bench.by_hand import keys, layout
from bench.by_hand.layout import Machine, Site


def write_files(site: Site, machine: Machine, authority: keys.Authority) -> None:
    """Write everything the machine reads into its folder."""
    folder = site.machine_dir(machine)
    ours = f"http://{layout.BRIDGE_ADDRESS}:{layout.REGISTRY_PORT}"
    for name in ("containerd", "kubelet", "pod-logs", "cni", "run"):
        (folder / name).mkdir(parents=True)
    keys.make_kubeconfig(
        authority,
        folder / "kubelet.kubeconfig",
        f"system:node:{machine.name}",
        "system:nodes",
    )
    names = (machine.name, machine.address)
    keys.make_pair(authority, folder / "serving", f"system:node:{machine.name}", names=names)
    keys.make_kubeconfig(authority, folder / "kube-proxy.kubeconfig", "system:kube-proxy")
    (folder / "resolv.conf").write_text(f"nameserver {layout.BRIDGE_ADDRESS}\n")
    (folder / "cni" / "10-hand.conflist").write_text(json.dumps(_network(machine)))
    (folder / "containerd.toml").write_text(_containerd(site, machine))
    (folder / "kubelet.yaml").write_text(json.dumps(_kubelet(site, machine)))
    (folder / "kube-proxy.yaml").write_text(json.dumps(_kube_proxy(site, machine)))
    for name in ("localhost:5050", "registry.k8s.io"):
        mirror = folder / "certs.d" / name / "hosts.toml"
        mirror.parent.mkdir(parents=True)
        mirror.write_text(f"[host.'{ours}']\n  capabilities = ['pull', 'resolve']\n")


def _network(machine: Machine) -> dict[str, Any]:
    ranges = [[{"subnet": machine.pod_cidr}]]
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "backend": "nftables"}
    return {"cniVersion": "1.0.0", "name": "hand", "plugins": [bridge, portmap]}


def _containerd(site: Site, machine: Machine) -> str:
    folder, programs = site.machine_dir(machine), site.programs["containerd"].parent
    return f"""\
version = 3

[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'registry.k8s.io/pause:3.10.2'
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = '{folder}/certs.d'

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['{programs}']
  conf_dir = '{folder}/cni'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = '{programs}/runc'
  SystemdCgroup = false
"""


def _kubelet(site: Site, machine: Machine) -> dict[str, Any]:
    folder = site.machine_dir(machine)
    taint = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{site.dir}/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{folder}/serving.crt",
        "tlsPrivateKeyFile": f"{folder}/serving.key",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDNS": [layout.DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": f"{folder}/resolv.conf",
        "registerWithTaints": [taint] if machine.is_control_plane else [],
        "maxPods": 110,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "makeIPTablesUtilChains": False,
        "serializeImagePulls": False,
        "maxParallelImagePulls": 4,
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 3,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": machine.cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "nodeStatusUpdateFrequency": "3s",
        "nodeLeaseDurationSeconds": 12,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "300Mi"},
        "imageGCHighThresholdPercent": 99,
        "imageGCLowThresholdPercent": 98,
    }


def _kube_proxy(site: Site, machine: Machine) -> dict[str, Any]:
    kubeconfig = f"{site.machine_dir(machine)}/kube-proxy.kubeconfig"
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": kubeconfig},
        "hostnameOverride": machine.name,
        "bindAddress": machine.address,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "clusterCIDR": layout.POD_NETWORK,
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
