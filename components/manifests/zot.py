"""The OCI registry Zot: its configuration, and its objects where it runs in the cluster.

Anonymous pulls, authenticated pushes: a kubelet needs no credential, a builder does.
"""

import json
from typing import Any

from bex_operator.api import images
from components.manifests import shapes

NAMESPACE = "bex-registry"
PORT = 5000
NODE_PORT = 30500
PUSHER = "bex-builder"
HTPASSWD = "/secret/htpasswd"
CONFIG = "/etc/zot/config.json"
ROOT = "/var/lib/registry"
KEPT_TAGS = images.KEPT_BUILDS + images.KEPT_RELEASES + images.BUILDS_AT_ONCE
"""Images of an App's builds: those that count as made, those in reach of a rollback, and those
that are on their way. Zot knows when a tag was pushed, not what runs."""
GRACE = f"{images.GRACE_SECONDS}s"
"""Delay and interval of the garbage collection; not shorter than a build may take."""


def configuration() -> dict[str, Any]:
    """Render Zot's configuration; it is read only when Zot starts."""
    pusher = [{"users": [PUSHER], "actions": ["read", "create", "update", "delete"]}]
    repositories = {
        "**": {"anonymousPolicy": ["read"], "policies": pusher},
        # Zot takes the longest match alone: what builds push is nobody's but its App's.
        f"{images.BUILDS}**": {"anonymousPolicy": [], "policies": pusher},
    }
    # Only what builds push: elsewhere a tag is somebody's wish to keep what it names, and a
    # repository that no policy names keeps its tags.
    retention = {
        "policies": [
            _retention(f"{images.BUILDS}*/{images.IMAGE}", ".*", KEPT_TAGS),
            _retention(f"{images.BUILDS}*/{images.CACHE}", "latest", 1),
        ]
    }
    return {
        "distSpecVersion": "1.1.0",
        "storage": {
            "rootDirectory": ROOT,
            "dedupe": True,
            "gc": True,
            "gcDelay": GRACE,
            "gcInterval": GRACE,
            "retention": retention,
        },
        "http": {
            "address": "0.0.0.0",  # noqa: S104 - inside its own network namespace
            "port": str(PORT),
            "compat": ["docker2s2"],
            "readTimeout": "60s",
            "writeTimeout": "60s",
            "auth": {"htpasswd": {"path": HTPASSWD}},
            "accessControl": {"repositories": repositories},
        },
        "log": {"level": "info"},
        "extensions": {"scrub": {"enable": True, "interval": "24h"}},
    }


def _retention(repositories: str, tags: str, count: int) -> dict[str, Any]:
    return {
        "repositories": [repositories],
        "deleteUntagged": True,
        "keepTags": [{"patterns": [tags], "mostRecentlyPushedCount": count}],
    }


def configuration_text() -> str:
    """Write the configuration as Zot reads it."""
    return json.dumps(configuration(), indent=2, sort_keys=True)


def render(image: str, htpasswd: object, *, storage_gib: int) -> list[shapes.Manifest]:
    """Render Zot as a StatefulSet with one volume, reachable by every machine on its node port.

    *htpasswd* may be anything that stands for the text, such as a Pulumi output.
    """
    labels = {"app.kubernetes.io/name": "zot", **shapes.PART_OF}
    return [
        shapes.namespace(NAMESPACE),
        shapes.make(
            "v1",
            "ConfigMap",
            "zot-config",
            {"data": {"config.json": configuration_text()}},
            namespace=NAMESPACE,
        ),
        shapes.make(
            "v1",
            "Secret",
            "zot-htpasswd",
            {"type": "Opaque", "stringData": {"htpasswd": htpasswd}},
            namespace=NAMESPACE,
        ),
        _service(labels),
        _stateful_set(image, labels, storage_gib),
    ]


def _service(labels: dict[str, str]) -> shapes.Manifest:
    port = {
        "name": "http",
        "port": PORT,
        "targetPort": PORT,
        "nodePort": NODE_PORT,
        "protocol": "TCP",
    }
    spec = {"type": "NodePort", "selector": dict(labels), "ports": [port]}
    return shapes.make("v1", "Service", "zot", {"spec": spec}, namespace=NAMESPACE, labels=labels)


def _stateful_set(image: str, labels: dict[str, str], storage_gib: int) -> shapes.Manifest:
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": f"{storage_gib}Gi"}},
        },
    }
    pod = {
        "metadata": {"labels": dict(labels)},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "tolerations": [{"key": "bex.co/platform", "operator": "Exists"}],
            "containers": [_container(image)],
            "volumes": [
                {"name": "config", "configMap": {"name": "zot-config"}},
                {"name": "htpasswd", "secret": {"secretName": "zot-htpasswd"}},
            ],
        },
    }
    spec = {
        "replicas": 1,
        "serviceName": "zot",
        "selector": {"matchLabels": dict(labels)},
        "template": pod,
        "volumeClaimTemplates": [claim],
    }
    return shapes.make(
        "apps/v1", "StatefulSet", "zot", {"spec": spec}, namespace=NAMESPACE, labels=labels
    )


def _container(image: str) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/v2/", "port": PORT}, "timeoutSeconds": 5}
    return {
        "name": "zot",
        "image": image,
        "args": ["serve", CONFIG],
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {**probe, "periodSeconds": 5},
        "livenessProbe": {**probe, "periodSeconds": 20, "failureThreshold": 6},
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "data", "mountPath": ROOT},
            {"name": "config", "mountPath": "/etc/zot", "readOnly": True},
            {"name": "htpasswd", "mountPath": "/secret", "readOnly": True},
        ],
    }
