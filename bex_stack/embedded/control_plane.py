"""etcd, API server, controller manager and scheduler of an instance, as processes. Pure.

They bind the instance's own address with their standard ports, so that instances never clash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bex_stack.embedded import identities, processes
from bex_stack.embedded import instance as instances

ETCD, API_SERVER = "etcd", "kube-apiserver"
CONTROLLER_MANAGER, SCHEDULER = "kube-controller-manager", "kube-scheduler"
NAMES = (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER)

NODE_GRACE_SECONDS = 16
"""Silence after which a machine is NotReady; kubelets report every 3 s (see machine_config)."""
SIMULATED_GRACE_SECONDS = 120
"""The same for simulated machines: there are thousands, on a lease of 40 s (see simulated)."""
TOLERATION_SECONDS = 30
"""How long pods stay bound to a machine that is NotReady or unreachable."""
_ETCD_CLIENT_PORT, _ETCD_PEER_PORT = 2379, 2380
_CONTROLLER_MANAGER_PORT, _SCHEDULER_PORT = 10257, 10259
_CLIENT_QPS, _CLIENT_BURST = 200, 400  # a few thousand simulated pods within minutes


@dataclass(frozen=True, slots=True)
class Files:
    """Rendered configuration the processes read."""

    encryption: Path
    authentication: Path
    scheduler: Path


def files_of(instance: instances.Instance) -> Files:
    """Where an instance keeps the rendered configuration."""
    return Files(
        encryption=instance.pki_dir / "encryption.yaml",
        authentication=instance.etc_dir / "authentication.yaml",
        scheduler=instance.etc_dir / "scheduler.yaml",
    )


def render_authentication() -> dict[str, Any]:
    """AuthenticationConfiguration (apiserver.config.k8s.io/v1): strangers see health only."""
    paths = [{"path": path} for path in ("/livez", "/readyz", "/healthz")]
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": True, "conditions": paths},
    }


def render_scheduler(instance: instances.Instance) -> dict[str, Any]:
    """KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1) that packs pods tightly.

    By default replicas are spread over machines, which outweighs packing: the built-in spread
    constraints are taken away (an App may still ask for its own) and the fit counts most.
    """
    resources = [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1}]
    fit = {"scoringStrategy": {"type": "MostAllocated", "resources": resources}}
    spread = {"defaultingType": "List", "defaultConstraints": []}
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {
            "kubeconfig": str(instance.kubeconfig_of(identities.SCHEDULER)),
            "qps": _CLIENT_QPS,
            "burst": _CLIENT_BURST,
        },
        "profiles": [
            {
                "schedulerName": "default-scheduler",
                "plugins": {
                    "score": {
                        "enabled": [{"name": "NodeResourcesFit", "weight": 10}],
                        "disabled": [{"name": "NodeResourcesBalancedAllocation"}],
                    }
                },
                "pluginConfig": [
                    {"name": "NodeResourcesFit", "args": fit},
                    {"name": "PodTopologySpread", "args": spread},
                ],
            }
        ],
    }


def etcd(
    instance: instances.Instance, keys: identities.ControlPlaneKeys, program: Path
) -> processes.Process:
    """The store; only who holds a certificate of etcd's own authority can speak to it."""
    client = f"https://{instance.bind_address}:{_ETCD_CLIENT_PORT}"
    peer = f"https://{instance.bind_address}:{_ETCD_PEER_PORT}"
    trusted = str(keys.etcd_authority.certificate)
    flags = {
        "name": "bex",
        "data-dir": str(instance.dir / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"bex={peer}",
        "cert-file": str(keys.etcd.certificate),
        "key-file": str(keys.etcd.key),
        "client-cert-auth": "true",
        "trusted-ca-file": trusted,
        "peer-cert-file": str(keys.etcd.certificate),
        "peer-key-file": str(keys.etcd.key),
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": trusted,
        "logger": "zap",
        "log-level": "warn",
        # Without it, watches of quiet kinds hear nothing for ten minutes and look dead.
        "watch-progress-notify-interval": "5s",
    }
    inputs = (keys.etcd.certificate, keys.etcd_authority.certificate)
    return processes.Process(ETCD, _command(program, flags), inputs=inputs, priority=10)


def api_server(
    instance: instances.Instance, keys: identities.ControlPlaneKeys, program: Path
) -> processes.Process:
    """The API server: Node and RBAC authorization, Secrets encrypted, strangers kept out."""
    files = files_of(instance)
    flags = {
        "bind-address": instance.bind_address,
        "advertise-address": instance.bind_address,
        "secure-port": str(instances.API_PORT),
        "etcd-servers": f"https://{instance.bind_address}:{_ETCD_CLIENT_PORT}",
        "etcd-cafile": str(keys.etcd_authority.certificate),
        "etcd-certfile": str(keys.api_server_to_etcd.certificate),
        "etcd-keyfile": str(keys.api_server_to_etcd.key),
        "tls-cert-file": str(keys.api_server.certificate),
        "tls-private-key-file": str(keys.api_server.key),
        "client-ca-file": str(keys.authority.certificate),
        **_to_kubelets(keys),
        **_service_accounts(keys),
        "service-cluster-ip-range": str(instances.SERVICE_NETWORK),
        "authorization-mode": "Node,RBAC",
        "authentication-config": str(files.authentication),
        "enable-admission-plugins": "NodeRestriction",
        "encryption-provider-config": str(files.encryption),
        "allow-privileged": "true",
        "profiling": "false",
        "default-not-ready-toleration-seconds": str(TOLERATION_SECONDS),
        "default-unreachable-toleration-seconds": str(TOLERATION_SECONDS),
        # A loopback address must not stand in the Endpoints of the `kubernetes` Service.
        "endpoint-reconciler-type": "lease" if instance.kind == "real" else "none",
    }
    inputs = (
        keys.api_server.certificate,
        keys.authority.certificate,
        keys.api_server_to_etcd.certificate,
        keys.api_server_to_kubelet.certificate,
        keys.service_accounts.certificate,
        files.authentication,
        files.encryption,
    )
    return processes.Process(API_SERVER, _command(program, flags), inputs=inputs, priority=20)


def _to_kubelets(keys: identities.ControlPlaneKeys) -> dict[str, str]:
    return {
        "kubelet-certificate-authority": str(keys.authority.certificate),
        "kubelet-client-certificate": str(keys.api_server_to_kubelet.certificate),
        "kubelet-client-key": str(keys.api_server_to_kubelet.key),
        # Nobody resolves a machine's name on the host: logs and exec go to its address.
        "kubelet-preferred-address-types": "InternalIP",
    }


def _service_accounts(keys: identities.ControlPlaneKeys) -> dict[str, str]:
    return {
        "service-account-issuer": f"https://kubernetes.default.svc.{instances.CLUSTER_DOMAIN}",
        "service-account-key-file": str(keys.service_accounts.certificate),
        "service-account-signing-key-file": str(keys.service_accounts.key),
    }


def controller_manager(
    instance: instances.Instance, keys: identities.ControlPlaneKeys, program: Path
) -> processes.Process:
    """The controllers; each acts with its own service account."""
    kubeconfig = instance.kubeconfig_of(identities.CONTROLLER_MANAGER)
    grace = NODE_GRACE_SECONDS if instance.kind == "real" else SIMULATED_GRACE_SECONDS
    flags = {
        "kubeconfig": str(kubeconfig),
        "authentication-kubeconfig": str(kubeconfig),
        "authorization-kubeconfig": str(kubeconfig),
        "bind-address": instance.bind_address,
        "tls-cert-file": str(keys.controller_manager.certificate),
        "tls-private-key-file": str(keys.controller_manager.key),
        "root-ca-file": str(keys.authority.certificate),
        "service-account-private-key-file": str(keys.service_accounts.key),
        "use-service-account-credentials": "true",
        "leader-elect": "false",
        "profiling": "false",
        "kube-api-qps": str(_CLIENT_QPS),
        "kube-api-burst": str(_CLIENT_BURST),
        "node-monitor-grace-period": f"{grace}s",
        "node-monitor-period": "2s",
        # The default of one machine in ten seconds suits hundreds of them.
        "node-eviction-rate": "1",
    }
    inputs = (kubeconfig, keys.controller_manager.certificate, keys.authority.certificate)
    command = _command(program, flags)
    return processes.Process(CONTROLLER_MANAGER, command, inputs=inputs, priority=30)


def scheduler(
    instance: instances.Instance, keys: identities.ControlPlaneKeys, program: Path
) -> processes.Process:
    """The scheduler, told to pack."""
    kubeconfig = instance.kubeconfig_of(identities.SCHEDULER)
    flags = {
        "config": str(files_of(instance).scheduler),
        "authentication-kubeconfig": str(kubeconfig),
        "authorization-kubeconfig": str(kubeconfig),
        "bind-address": instance.bind_address,
        "tls-cert-file": str(keys.scheduler.certificate),
        "tls-private-key-file": str(keys.scheduler.key),
    }
    inputs = (kubeconfig, keys.scheduler.certificate, files_of(instance).scheduler)
    return processes.Process(SCHEDULER, _command(program, flags), inputs=inputs, priority=30)


def health_urls(instance: instances.Instance) -> Mapping[str, str]:
    """What answers 200 when the component works."""
    address = instance.bind_address
    return {
        API_SERVER: f"{instance.api_url}/readyz",
        CONTROLLER_MANAGER: f"https://{address}:{_CONTROLLER_MANAGER_PORT}/healthz",
        SCHEDULER: f"https://{address}:{_SCHEDULER_PORT}/healthz",
    }


def _command(program: Path, flags: Mapping[str, str]) -> tuple[str, ...]:
    return (str(program), *(f"--{name}={value}" for name, value in flags.items()))
