"""Helm charts of the platform: which, where, with which values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components import pins
from components.manifests import caph, edge

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
ON_CONTROL_PLANE: Mapping[str, Any] = {
    "nodeSelector": {CONTROL_PLANE: ""},
    "tolerations": [{"key": CONTROL_PLANE, "operator": "Exists"}],
}
"""Some hosts' Docker does not route from a worker's pods to the API server."""
ON_PLATFORM: Mapping[str, Any] = {
    "nodeSelector": {caph.POOL_LABEL: "platform"},
    "tolerations": [{"key": caph.PLATFORM_TAINT.key, "operator": "Exists"}],
}
HTTP_NODE_PORT, HTTPS_NODE_PORT = 31218, 31976
TLS_STORE = "default"
DEFAULT_CERTIFICATE = "bex-default-tls"
EDGE_NAMESPACE = "bex-edge"


@dataclass(frozen=True, slots=True)
class Chart:
    """One Helm release."""

    name: str
    namespace: str
    file: pins.File
    values: Mapping[str, Any]


def pod_network(choice: str, network: str, *, private: bool) -> Chart | None:
    """Choose the pod network; None: somebody else brings it. *private*: over private addresses."""
    if choice == "calico":
        installation = {
            "cni": {"type": "Calico"},
            "calicoNetwork": {"ipPools": [{"cidr": network, "encapsulation": "VXLAN"}]},
        }
        values = {"installation": installation, "goldmane": {"enabled": False}}
        return Chart(
            "calico",
            "tigera-operator",
            pins.CALICO_CHART,
            {**values, "whisker": {"enabled": False}},
        )
    if choice == "cilium":
        cilium: dict[str, Any] = {
            "ipam": {"mode": "kubernetes"},
            "operator": {"replicas": 1},
            "kubeProxyReplacement": False,
        }
        if private:
            cilium["encryption"] = {"enabled": True, "type": "wireguard"}
        return Chart("cilium", "kube-system", pins.CILIUM_CHART, cilium)
    return None


def cert_manager(where: Mapping[str, Any]) -> Chart:
    """Render cert-manager; all three of its programs run *where*."""
    values = {
        "crds": {"enabled": True, "keep": False},
        # The key of a host that was given up goes with its certificate.
        "enableCertificateOwnerRef": True,
        **where,
        "webhook": dict(where),
        "cainjector": dict(where),
        "startupapicheck": dict(where),
    }
    return Chart("cert-manager", "cert-manager", pins.CERT_MANAGER_CHART, values)


def metrics_server(where: Mapping[str, Any]) -> Chart:
    """Render metrics-server; it checks the kubelets' certificates, which are approved."""
    values = {"args": ["--kubelet-preferred-address-types=InternalIP"], **where}
    return Chart("metrics-server", "kube-system", pins.METRICS_CHART, values)


def csr_approver(cluster_name: str, where: Mapping[str, Any]) -> Chart:
    """Render what approves the kubelets' serving certificates: logs and exec need them."""
    values = {
        "providerRegex": f"^{cluster_name}-",
        # Names of machines are in no DNS.
        "bypassDnsResolution": True,
        "maxExpirationSeconds": 31622400,
        **where,
    }
    return Chart("kubelet-csr-approver", "kube-system", pins.CSR_APPROVER_CHART, values)


def cloud_controller_manager(network: str, pods: str) -> Chart:
    """Render Hetzner's cloud-controller-manager: addresses, routes and load balancers of nodes."""
    values = {
        "networking": {
            "enabled": True,
            "clusterCIDR": pods,
            # By name; the chart's own choice, a key of a Secret, has to go.
            "network": {"value": network, "valueFrom": None},
        },
        "nodeSelector": {CONTROL_PLANE: ""},
        "env": {
            "HCLOUD_TOKEN": {"valueFrom": {"secretKeyRef": _token()}},
            # The day 0 made the edge's load balancer; one owner per cloud object.
            "HCLOUD_LOAD_BALANCERS_ENABLED": {"value": "false"},
        },
    }
    return Chart("hcloud-ccm", "kube-system", pins.CCM_CHART, values)


def csi_driver(labels: Mapping[str, str]) -> Chart:
    """Render Hetzner's volumes; deleted with their claim. *labels* tell whose they are."""
    storage = {
        "name": "hcloud-volumes",
        "defaultStorageClass": True,
        "reclaimPolicy": "Delete",
    }
    controller = {
        **ON_PLATFORM,
        "hcloudToken": {"existingSecret": _token()},
        "volumeExtraLabels": dict(labels),
    }
    values = {"storageClasses": [storage], "controller": controller}
    return Chart("hcloud-csi", "kube-system", pins.CSI_CHART, values)


def _token() -> dict[str, str]:
    """Name the token in the app cluster: CAPH copies its Secret to kube-system."""
    return {"name": caph.SECRET, "key": caph.TOKEN_KEY}


def traefik_on_host() -> Chart:
    """Render the edge of the `capd` stack: one replica with the machine's own ports 80 and 443."""
    values = {
        **_traefik(),
        "hostNetwork": True,
        "deployment": {"replicas": 1, "dnsPolicy": "ClusterFirstWithHostNet"},
        # A second pod could not bind the ports.
        "updateStrategy": {"type": "Recreate", "rollingUpdate": None},
        "ports": {
            "web": {"port": 80, "hostPort": 80},
            "websecure": {"port": 443, "hostPort": 443},
        },
        "service": {"type": "ClusterIP"},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            "runAsNonRoot": False,
            "runAsUser": 0,
            "runAsGroup": 0,
        },
        **ON_CONTROL_PLANE,
    }
    return Chart("traefik", EDGE_NAMESPACE, pins.TRAEFIK_CHART, values)


def traefik_behind_balancer(balancer_network: str) -> Chart:
    """Render the edge of the `caph` stack: two replicas on node ports, clients' addresses kept.

    PROXY protocol is believed only from *balancer_network*, where the load balancer is.
    """
    trusted = {"proxyProtocol": {"trustedIPs": [balancer_network]}}
    spread = {
        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "traefik"}},
        "topologyKey": "kubernetes.io/hostname",
    }
    values = {
        **_traefik(),
        "deployment": {"replicas": 2},
        "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
        "affinity": {
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [spread]}
        },
        "ports": {
            "web": {"port": 8000, "nodePort": HTTP_NODE_PORT, **trusted},
            "websecure": {"port": 8443, "nodePort": HTTPS_NODE_PORT, **trusted},
        },
        "service": {"type": "NodePort", "spec": {"externalTrafficPolicy": "Local"}},
        **ON_PLATFORM,
    }
    return Chart("traefik", EDGE_NAMESPACE, pins.TRAEFIK_CHART, values)


def _traefik() -> dict[str, Any]:
    """Values that both edges share: the Ingress class is the Apps' own on every substrate."""
    return {
        "ingressClass": {"enabled": True, "isDefaultClass": True, "name": edge.CLASS},
        "ingressRoute": {"dashboard": {"enabled": False}},
        "providers": {
            "kubernetesIngress": {"ingressClass": edge.CLASS, "allowExternalNameServices": True},
            "kubernetesCRD": {"enabled": True, "ingressClass": edge.CLASS},
        },
        "tlsStore": {
            TLS_STORE: {"defaultCertificate": {"secretName": DEFAULT_CERTIFICATE}},
        },
        "logs": {"access": {"enabled": True, "format": "json"}},
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},
        },
    }
