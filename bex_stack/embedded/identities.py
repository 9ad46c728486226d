"""Who is who in an instance: which certificate names whom, and who may reach what with it.

Two authorities: the cluster's, whose clients the API server trusts, and etcd's, which the API
server alone can speak to. Certificates that end soon are renewed by the next up.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from bex_stack.embedded import disk, pki
from bex_stack.embedded import instance as instances

ADMIN = "bex-admin"
KUBELET_CLIENT = "kube-apiserver-kubelet-client"
CONTROLLER_MANAGER = "system:kube-controller-manager"
SCHEDULER = "system:kube-scheduler"
KUBE_PROXY = "system:kube-proxy"


@dataclass(frozen=True, slots=True)
class ControlPlaneKeys:
    """Everything the control plane's processes show and trust."""

    authority: pki.Authority
    etcd_authority: pki.Authority
    api_server: pki.Pair
    api_server_to_kubelet: pki.Pair
    api_server_to_etcd: pki.Pair
    etcd: pki.Pair
    controller_manager: pki.Pair
    scheduler: pki.Pair
    service_accounts: pki.Pair


def control_plane_keys(instance: instances.Instance) -> ControlPlaneKeys:
    """Where the keys of the control plane lie; touches nothing."""
    folder = instance.pki_dir

    def pair(name: str, public: str = "crt") -> pki.Pair:
        return pki.Pair(folder / f"{name}.{public}", folder / f"{name}.key")

    return ControlPlaneKeys(
        authority=cluster_authority(instance),
        etcd_authority=pki.Authority(folder / "etcd-ca"),
        api_server=pair("apiserver"),
        api_server_to_kubelet=pair("apiserver-kubelet"),
        api_server_to_etcd=pair("apiserver-etcd"),
        etcd=pair("etcd"),
        controller_manager=pair("controller-manager"),
        scheduler=pair("scheduler"),
        service_accounts=pair("service-accounts", "pub"),
    )


def is_current(*folders: Path) -> bool:
    """Whether no certificate in *folders* ends so soon that up would renew it."""
    return not any(pki.ending(folder, now=_now()) for folder in folders)


def is_user_current(instance: instances.Instance, user: str) -> bool:
    """Whether the certificate of *user* exists and does not end soon."""
    return pki.is_lasting(pki.user_pair(instance.kubeconfig_of(user)).certificate, now=_now())


def ensure_control_plane(instance: instances.Instance) -> ControlPlaneKeys:
    """Make or renew all keys of the control plane and the kubeconfigs of its components."""
    disk.ensure_dir(instance.dir)
    disk.ensure_dir(instance.pki_dir)
    keys = control_plane_keys(instance)
    # One at a time: two authorities made at once would disown each other's certificates.
    with disk.locked(instance.run_dir / "pki.lock"):
        now = _now()
        cluster, etcd = keys.authority, keys.etcd_authority
        pki.ensure_authority(cluster.stem, f"bex {instance.name}", now=now)
        pki.ensure_authority(etcd.stem, f"bex {instance.name} etcd", now=now)
        here = ("127.0.0.1", instance.bind_address)
        leaves = (
            (cluster, keys.api_server, _api_server(instance)),
            (cluster, keys.api_server_to_kubelet, pki.Leaf(KUBELET_CLIENT)),
            (etcd, keys.api_server_to_etcd, pki.Leaf("kube-apiserver")),
            (etcd, keys.etcd, pki.Leaf("etcd", (), ("localhost",), here)),
            (
                cluster,
                keys.controller_manager,
                pki.Leaf("kube-controller-manager", addresses=here),
            ),
            (cluster, keys.scheduler, pki.Leaf("kube-scheduler", addresses=here)),
        )
        for authority, pair, leaf in leaves:
            pki.ensure_pair(authority, pair.key.with_suffix(""), leaf, now=now)
        pki.ensure_signing_key(keys.service_accounts.key.with_suffix(""))
    ensure_kubeconfig(instance, ADMIN, organizations=("system:masters",), path=instance.kubeconfig)
    for user in (CONTROLLER_MANAGER, SCHEDULER):
        ensure_kubeconfig(instance, user)
    return keys


def ensure_kubeconfig(
    instance: instances.Instance,
    user: str,
    *,
    organizations: tuple[str, ...] = (),
    path: Path | None = None,
) -> Path:
    """Make or renew the kubeconfig of *user*, whose rights are what RBAC says of that name."""
    target = path or instance.kubeconfig_of(user)
    if target.parent != instance.dir:
        disk.ensure_dir(target.parent)
    with disk.locked(instance.run_dir / "pki.lock"):
        return pki.ensure_kubeconfig(
            target,
            cluster_authority(instance),
            pki.Leaf(user, organizations),
            server=instance.api_url,
            now=_now(),
        )


def ensure_machine(instance: instances.Instance, machine: str, slot: int) -> Path:
    """Make or renew the keys of one machine; return the folder the machine sees.

    `kubelet.kubeconfig` (system:node:NAME, held to its own pods by the Node authorizer),
    `kubelet.crt`/`.key` (the address it serves logs and exec under), `kube-proxy.kubeconfig`,
    `ca.crt`.
    """
    folder = disk.ensure_dir(instance.machine_dir(machine) / "kubernetes")
    address = instance.machine_address(slot)
    node = f"system:node:{machine}"
    ensure_kubeconfig(
        instance, node, organizations=("system:nodes",), path=folder / "kubelet.kubeconfig"
    )
    ensure_kubeconfig(instance, KUBE_PROXY, path=folder / "kube-proxy.kubeconfig")
    authority = cluster_authority(instance)
    with disk.locked(instance.run_dir / "pki.lock"):
        leaf = pki.Leaf(node, ("system:nodes",), (machine,), (address,))
        pki.ensure_pair(authority, folder / "kubelet", leaf, now=_now())
    disk.ensure_file(folder / "ca.crt", authority.certificate.read_bytes())
    return folder


def cluster_authority(instance: instances.Instance) -> pki.Authority:
    """The authority of the cluster, made by `ensure_control_plane`."""
    return pki.Authority(instance.pki_dir / "cluster-ca")


def _api_server(instance: instances.Instance) -> pki.Leaf:
    service = "kubernetes.default.svc"
    names = (
        "kubernetes",
        "kubernetes.default",
        service,
        f"{service}.{instances.CLUSTER_DOMAIN}",
        "localhost",
    )
    addresses = ("127.0.0.1", instance.bind_address, instances.API_SERVICE_ADDRESS)
    return pki.Leaf("kube-apiserver", dns_names=names, addresses=addresses)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
