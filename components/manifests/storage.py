"""Volumes on the machine's own disk: the local-path provisioner and its default StorageClass."""

import json

from components.manifests import shapes

NAMESPACE = "local-path-storage"
NAME = "local-path-provisioner"
CLASS = "local-path"
FOLDER = "/var/local-path"
_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def render(image: str, worker_image: str) -> list[shapes.Manifest]:
    """Render the provisioner; *worker_image* makes and empties folders on the machine."""
    labels = {"app.kubernetes.io/name": NAME, **shapes.PART_OF}
    return [
        # Its worker pods mount the machine's folder.
        shapes.namespace(NAMESPACE, privileged=True),
        shapes.make("v1", "ServiceAccount", NAME, {}, namespace=NAMESPACE),
        *shapes.role_and_binding(NAME, (NAMESPACE, NAME), _everywhere()),
        *shapes.role_and_binding(NAME, (NAMESPACE, NAME), _in_own(), bound_in=NAMESPACE),
        _config(worker_image),
        _deployment(image, labels),
        shapes.make(
            "storage.k8s.io/v1",
            "StorageClass",
            CLASS,
            {
                "provisioner": "rancher.io/local-path",
                "volumeBindingMode": "WaitForFirstConsumer",
                "reclaimPolicy": "Delete",
            },
            annotations={"storageclass.kubernetes.io/is-default-class": "true"},
        ),
    ]


def _everywhere() -> list[dict[str, list[str]]]:
    read = ["get", "list", "watch"]
    return [
        {
            "apiGroups": [""],
            "resources": ["nodes", "persistentvolumeclaims", "configmaps", "pods", "pods/log"],
            "verbs": read,
        },
        {
            "apiGroups": [""],
            "resources": ["persistentvolumes"],
            "verbs": [*read, "create", "patch", "update", "delete"],
        },
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": read},
    ]


def _in_own() -> list[dict[str, list[str]]]:
    verbs = ["get", "list", "watch", "create", "patch", "update", "delete"]
    return [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]


def _config(worker_image: str) -> shapes.Manifest:
    paths = {"nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [FOLDER]}]}
    toleration = {"operator": "Exists", "effect": "NoSchedule"}
    worker = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "helper-pod"},
        "spec": {
            "tolerations": [toleration],
            "containers": [
                {
                    "name": "helper-pod",
                    "image": worker_image,
                    "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}},
                }
            ],
        },
    }
    data = {
        "config.json": json.dumps(paths, indent=2),
        "setup": '#!/bin/sh\nset -eu\nmkdir -m 0777 -p "$VOL_DIR"\n',
        "teardown": '#!/bin/sh\nset -eu\nrm -rf "$VOL_DIR"\n',
        "helperPod.yaml": json.dumps(worker, indent=2),
    }
    return shapes.make("v1", "ConfigMap", "local-path-config", {"data": data}, namespace=NAMESPACE)


def _deployment(image: str, labels: dict[str, str]) -> shapes.Manifest:
    command = ["local-path-provisioner", "start", "--config", "/etc/config/config.json"]
    environment = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    container = {
        "name": NAME,
        "image": image,
        "command": command,
        "env": [{"name": "POD_NAMESPACE", "valueFrom": environment}],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"cpu": "200m", "memory": "128Mi"},
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/config/"}],
    }
    pod = {
        "metadata": {"labels": labels},
        "spec": {
            "serviceAccountName": NAME,
            # Some hosts' Docker does not route from a worker's pods to the API server.
            "nodeSelector": {_CONTROL_PLANE: ""},
            "tolerations": [{"key": _CONTROL_PLANE, "operator": "Exists"}],
            "containers": [container],
            "volumes": [{"name": "config", "configMap": {"name": "local-path-config"}}],
        },
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    return shapes.make(
        "apps/v1", "Deployment", NAME, {"spec": spec}, namespace=NAMESPACE, labels=labels
    )
