"""Cluster Autoscaler with Cluster API as its cloud, and the room it keeps free.

Runs on the infra cluster: with the app cluster's kubeconfig (a Secret that Cluster API makes) it
watches pods, with its own account it changes the number of machines.
"""

from collections.abc import Sequence
from typing import Any

from components.manifests import cluster_api, shapes

NAME = "cluster-autoscaler"
HEADROOM = "bex-headroom"
HEADROOM_PRIORITY = -1
"""Below every App, above the autoscaler's cutoff (-10): its pending pod does ask for a machine."""
SETTLE_SECONDS = 300
"""How long a machine must have been unneeded, or the last one added, before one is removed."""


def render(cluster_name: str, image: str) -> list[shapes.Manifest]:
    """Render account, rights and Deployment for the infra cluster."""
    where = cluster_api.NAMESPACE
    return [
        shapes.make("v1", "ServiceAccount", NAME, {}, namespace=where, labels=shapes.PART_OF),
        *shapes.role_and_binding(NAME, (where, NAME), _rules(), bound_in=where),
        _deployment(cluster_name, image),
    ]


def headroom(namespace: str, pause_image: str) -> list[shapes.Manifest]:
    """Render what keeps one `standard` slot free in the app cluster.

    A release's extra pod takes its place at once instead of asking for a machine that would be
    removed again together with the app's only replica.
    """
    value = {
        "value": HEADROOM_PRIORITY,
        "preemptionPolicy": "Never",
        "globalDefault": False,
        "description": "Room for pods that come; gives way to everything.",
    }
    labels = {"app.kubernetes.io/name": HEADROOM, **shapes.PART_OF}
    amounts = {"cpu": "1", "memory": "2Gi", "ephemeral-storage": "4Gi"}
    container = {
        "name": "pause",
        "image": pause_image,
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": _restricted(),
    }
    pod = {
        "metadata": {"labels": labels},
        "spec": {
            "priorityClassName": HEADROOM,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65534,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    return [
        shapes.make("scheduling.k8s.io/v1", "PriorityClass", HEADROOM, value),
        shapes.make(
            "apps/v1",
            "Deployment",
            HEADROOM,
            {"spec": spec},
            namespace=namespace,
            labels=labels,
            # It is pending by design while no machine is free.
            annotations={"pulumi.com/skipAwait": "true"},
        ),
    ]


def _rules() -> Sequence[dict[str, Any]]:
    read = ["get", "list", "watch"]
    group = "cluster.x-k8s.io"
    return [
        {
            "apiGroups": [group],
            "resources": ["machinedeployments", "machinesets", "machines", "machinepools"],
            "verbs": [*read, "update", "patch"],
        },
        {
            "apiGroups": [group],
            "resources": ["machinedeployments/scale", "machinesets/scale", "machinepools/scale"],
            "verbs": ["get", "update", "patch"],
        },
        {
            # Templates of the provider, whose status tells the size of a machine.
            "apiGroups": [cluster_api.INFRASTRUCTURE_GROUP],
            "resources": ["hcloudmachinetemplates", "devmachinetemplates"],
            "verbs": read,
        },
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": [*read, "create", "update", "patch"],
        },
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]


def _deployment(cluster_name: str, image: str) -> shapes.Manifest:
    where, labels = cluster_api.NAMESPACE, {"app.kubernetes.io/name": NAME, **shapes.PART_OF}
    options = {
        "cloud-provider": "clusterapi",
        "node-group-auto-discovery": f"clusterapi:namespace={where},clusterName={cluster_name}",
        "kubeconfig": "/secret/value",
        "clusterapi-cloud-config-authoritative": "true",
        "namespace": "kube-system",
        "scale-down-delay-after-add": f"{SETTLE_SECONDS}s",
        "scale-down-unneeded-time": f"{SETTLE_SECONDS}s",
        "enforce-node-group-min-size": "true",
        "balance-similar-node-groups": "true",
        # Takes the pool that costs least room first; the fallback pool comes last when it is full.
        "expander": "least-waste",
        "max-node-provision-time": "15m",
    }
    container = {
        "name": "autoscaler",
        "image": image,
        "args": [f"--{key}={value}" for key, value in options.items()],
        "env": [{"name": "CAPI_GROUP", "value": "cluster.x-k8s.io"}],
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi"},
            "limits": {"cpu": "500m", "memory": "512Mi"},
        },
        "securityContext": _restricted(),
        "volumeMounts": [{"name": "kubeconfig", "mountPath": "/secret", "readOnly": True}],
    }
    secret = {"secretName": f"{cluster_name}-kubeconfig"}
    pod = {
        "metadata": {"labels": labels},
        "spec": {
            "serviceAccountName": NAME,
            "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65534,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "kubeconfig", "secret": secret}],
        },
    }
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels},
        "template": pod,
    }
    return shapes.make(
        "apps/v1", "Deployment", NAME, {"spec": spec}, namespace=where, labels=labels
    )


def _restricted() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
