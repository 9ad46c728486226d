"""Command lines and configuration of what runs on the host. The flags are those that bex uses."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any

from bench.by_hand import keys, layout
from bench.by_hand.layout import BRIDGE_ADDRESS, Site

CLIENT, PEER = f"https://{BRIDGE_ADDRESS}:2379", f"https://{BRIDGE_ADDRESS}:2380"


def make_keys(site: Site) -> keys.Authority:
    """Make every certificate of the control plane, and the administrator's kubeconfig."""
    folder = site.dir / "pki"
    folder.mkdir(parents=True)
    cluster, etcd = keys.make_authority(folder / "ca"), keys.make_authority(folder / "etcd-ca")
    here = ("127.0.0.1", BRIDGE_ADDRESS)
    service = "kubernetes.default.svc"
    names = ("kubernetes", "kubernetes.default", service, f"{service}.cluster.local", "localhost")
    keys.make_pair(
        cluster,
        folder / "apiserver",
        "kube-apiserver",
        names=(*names, *here, layout.API_SERVICE_ADDRESS),
    )
    keys.make_pair(cluster, folder / "apiserver-kubelet", "kube-apiserver-kubelet-client")
    keys.make_pair(etcd, folder / "apiserver-etcd", "kube-apiserver")
    keys.make_pair(etcd, folder / "etcd", "etcd", names=("localhost", *here))
    keys.make_pair(cluster, folder / "kcm", "kube-controller-manager", names=here)
    keys.make_pair(cluster, folder / "scheduler", "kube-scheduler", names=here)
    keys.make_signing_key(folder / "sa")
    keys.make_kubeconfig(cluster, folder / "admin.kubeconfig", "admin", "system:masters")
    for user in ("system:kube-controller-manager", "system:kube-scheduler", "bex-dns"):
        name = user.removeprefix("system:")
        keys.make_kubeconfig(cluster, folder / f"{name}.kubeconfig", user)
    return cluster


def write_files(site: Site) -> None:
    """Write what the programs read beside their keys."""
    for name, content in {
        "encryption.yaml": _encryption(),
        "authentication.yaml": _authentication(),
        "scheduler.yaml": _scheduler(site),
        "caddy.json": _caddy(),
        "Corefile": _corefile(site),
    }.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (site.dir / name).write_text(text)


def etcd(site: Site) -> list[str]:
    """Command of etcd."""
    pki = site.dir / "pki"
    return [
        site.program("etcd"),
        "--name=hand",
        f"--data-dir={site.dir}/etcd",
        f"--listen-client-urls={CLIENT}",
        f"--advertise-client-urls={CLIENT}",
        f"--listen-peer-urls={PEER}",
        f"--initial-advertise-peer-urls={PEER}",
        f"--initial-cluster=hand={PEER}",
        f"--cert-file={pki}/etcd.crt",
        f"--key-file={pki}/etcd.key",
        "--client-cert-auth=true",
        f"--trusted-ca-file={pki}/etcd-ca.crt",
        f"--peer-cert-file={pki}/etcd.crt",
        f"--peer-key-file={pki}/etcd.key",
        "--peer-client-cert-auth=true",
        f"--peer-trusted-ca-file={pki}/etcd-ca.crt",
        "--logger=zap",
        "--log-level=warn",
    ]


def api_server(site: Site) -> list[str]:
    """Command of the API server."""
    pki = site.dir / "pki"
    return [
        site.program("kube-apiserver"),
        f"--bind-address={BRIDGE_ADDRESS}",
        f"--advertise-address={BRIDGE_ADDRESS}",
        "--secure-port=6443",
        f"--etcd-servers={CLIENT}",
        f"--etcd-cafile={pki}/etcd-ca.crt",
        f"--etcd-certfile={pki}/apiserver-etcd.crt",
        f"--etcd-keyfile={pki}/apiserver-etcd.key",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--service-cluster-ip-range={layout.SERVICE_NETWORK}",
        "--authorization-mode=Node,RBAC",
        f"--authentication-config={site.dir}/authentication.yaml",
        "--enable-admission-plugins=NodeRestriction",
        f"--encryption-provider-config={site.dir}/encryption.yaml",
        "--allow-privileged=true",
        "--profiling=false",
        "--default-not-ready-toleration-seconds=30",
        "--default-unreachable-toleration-seconds=30",
        "--endpoint-reconciler-type=lease",
    ]


def controller_manager(site: Site) -> list[str]:
    """Command of the controller manager."""
    pki = site.dir / "pki"
    kubeconfig = f"{pki}/kube-controller-manager.kubeconfig"
    return [
        site.program("kube-controller-manager"),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={BRIDGE_ADDRESS}",
        f"--tls-cert-file={pki}/kcm.crt",
        f"--tls-private-key-file={pki}/kcm.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/sa.key",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--profiling=false",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--node-monitor-grace-period=16s",
        "--node-monitor-period=2s",
        "--node-eviction-rate=1",
    ]


def scheduler(site: Site) -> list[str]:
    """Command of the scheduler."""
    pki = site.dir / "pki"
    kubeconfig = f"{pki}/kube-scheduler.kubeconfig"
    return [
        site.program("kube-scheduler"),
        f"--config={site.dir}/scheduler.yaml",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={BRIDGE_ADDRESS}",
        f"--tls-cert-file={pki}/scheduler.crt",
        f"--tls-private-key-file={pki}/scheduler.key",
    ]


def registry(site: Site) -> list[str]:
    """Command of the registry."""
    return [
        site.program("registry"),
        f"-root={site.dir}/registry",
        f"-listen=127.0.0.1:{layout.REGISTRY_PORT}",
        f"-listen={BRIDGE_ADDRESS}:{layout.REGISTRY_PORT}",
    ]


def dns(site: Site) -> list[str]:
    """Command of the name server."""
    return [site.program("coredns"), "-conf", f"{site.dir}/Corefile"]


def edge(site: Site) -> list[str]:
    """Command of the edge."""
    return [site.program("caddy"), "run", "--config", f"{site.dir}/caddy.json"]


def push_command(site: Site, image: str) -> list[str]:
    """Command that pushes an image into the registry."""
    target = f"127.0.0.1:{layout.REGISTRY_PORT}/{image}"
    return [site.program("crane"), "push", str(site.images[image]), target, "--insecure"]


def manifests() -> Path:
    """What is applied to the cluster."""
    return Path(__file__).with_name("objects.yaml")


def _encryption() -> dict[str, Any]:
    key = {"name": "key1", "secret": base64.b64encode(secrets.token_bytes(32)).decode()}
    providers = [{"secretbox": {"keys": [key]}}, {"identity": {}}]
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": providers}],
    }


def _authentication() -> dict[str, Any]:
    paths = [{"path": path} for path in ("/livez", "/readyz", "/healthz")]
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": True, "conditions": paths},
    }


def _scheduler(site: Site) -> dict[str, Any]:
    resources = [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1}]
    fit = {"scoringStrategy": {"type": "MostAllocated", "resources": resources}}
    spread = {"defaultingType": "List", "defaultConstraints": []}
    score = {
        "enabled": [{"name": "NodeResourcesFit", "weight": 10}],
        "disabled": [{"name": "NodeResourcesBalancedAllocation"}],
    }
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {"kubeconfig": f"{site.dir}/pki/kube-scheduler.kubeconfig"},
        "profiles": [
            {
                "schedulerName": "default-scheduler",
                "plugins": {"score": score},
                "pluginConfig": [
                    {"name": "NodeResourcesFit", "args": fit},
                    {"name": "PodTopologySpread", "args": spread},
                ],
            }
        ],
    }


def _caddy() -> dict[str, Any]:
    """The app's node port on the worker; nothing is discovered."""
    dial = [{"dial": f"{layout.machine(1).address}:{layout.NODE_PORT}"}]
    proxy = {"handler": "reverse_proxy", "upstreams": dial}
    route = {"match": [{"host": ["hello.localhost"]}], "handle": [proxy]}
    listen = [f"127.0.0.1:{layout.EDGE_PORT}"]
    server = {"listen": listen, "routes": [route], "automatic_https": {"disable": True}}
    return {"admin": {"disabled": True}, "apps": {"http": {"servers": {"edge": server}}}}


def _corefile(site: Site) -> str:
    return f"""\
.:53 {{
    bind {BRIDGE_ADDRESS}
    errors
    ready {BRIDGE_ADDRESS}:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {site.dir}/pki/bex-dns.kubeconfig hand
        pods verified
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    forward . /etc/resolv.conf
    cache 30
}}
"""
