"""The OCI registry Zot: its configuration, and its objects where it runs in the cluster.

Two processes share one volume, for a Zot that takes tokens takes nothing else. One is for machines
and people: anybody pulls what the platform has, machines with a password also what builds push.
The other is for builds: it lets in whoever has a token of the operator's. Each keeps folders of
its own, and only looks into the other's.
"""

import json
from typing import Any

from bex_operator.api import images
from components.manifests import shapes

NAMESPACE = "bex-registry"
PORT = 5000
NODE_PORT = 30500
BUILDS_PORT = 5001
"""Where builds are let in with tokens."""
BUILDS_SERVICE = "zot-builds"
PUSHER, PULLER = "bex-builder", "bex-machine"
HTPASSWD = "/secret/htpasswd"
SIGNER = "/secret/signer.pem"
"""Public key that tokens are verified with."""
CONFIG = "/etc/zot/config.json"
ROOT = "/var/lib/registry"
KEPT_TAGS = images.KEPT_BUILDS + images.KEPT_RELEASES + images.BUILDS_AT_ONCE
"""Images of an App's builds: those that count as made, those in reach of a rollback, and those
that are on their way. Zot knows when a tag was pushed, not what runs."""
GRACE = f"{images.GRACE_SECONDS}s"
"""Delay and interval of the garbage collection; not shorter than a build may take."""

CACHE_TAGS = f"^({images.CACHE_OF_DOCKERFILE}|{images.CACHE_OF_BUILDPACKS})$"


def configuration() -> dict[str, Any]:
    """Render what is for machines and people; it is read only when Zot starts."""
    pusher = {"users": [PUSHER], "actions": ["read", "create", "update", "delete"]}
    puller = {"users": [PULLER], "actions": ["read"]}
    repositories = {
        "**": {"anonymousPolicy": ["read"], "policies": [pusher, puller]},
        # Zot takes the longest match alone: what builds push is for machines to run.
        f"{images.BUILDS}**": {"anonymousPolicy": [], "policies": [puller]},
    }
    auth = {"htpasswd": {"path": HTPASSWD}}
    beside = {"/library": _kept("library"), "/builds": _seen("builds")}
    made = _configuration(PORT, auth, {**_kept("platform"), "subPaths": beside})
    made["http"]["accessControl"] = {"repositories": repositories}
    return made


def builds_configuration() -> dict[str, Any]:
    """Render what is for builds. What a token allows is in the token: repositories, by name."""
    # Only what builds push: elsewhere a tag is somebody's wish to keep what it names, and a
    # repository that no policy names keeps its tags.
    retention = {
        "policies": [
            _retention(f"{images.BUILDS}*/{images.IMAGE}", ".*", KEPT_TAGS),
            _retention(f"{images.BUILDS}*/{images.CACHE}", CACHE_TAGS, 2),
        ]
    }
    beside = {"/library": _seen("library"), "/bex": _seen("platform")}
    storage = {**_kept("builds"), "retention": retention, "subPaths": beside}
    # Nobody issues tokens on demand; without an issuer's name Zot takes none.
    bearer = {"realm": "https://tokens.invalid", "service": images.SERVICE, "cert": SIGNER}
    made = _configuration(BUILDS_PORT, {"bearer": bearer}, storage)
    return {**made, "extensions": {"scrub": {"enable": True, "interval": "24h"}}}


def _kept(folder: str) -> dict[str, Any]:
    """Describe a folder that this process keeps."""
    return {
        "rootDirectory": f"{ROOT}/{folder}",
        "dedupe": True,
        "gc": True,
        "gcDelay": GRACE,
        "gcInterval": GRACE,
    }


def _seen(folder: str) -> dict[str, Any]:
    """Describe a folder that the other one keeps. Zot wants one for each path."""
    return {"rootDirectory": f"{ROOT}/{folder}", "dedupe": False, "gc": False}


def _configuration(port: int, auth: dict[str, Any], storage: dict[str, Any]) -> dict[str, Any]:
    return {
        "distSpecVersion": "1.1.0",
        "storage": storage,
        "http": {
            "address": "0.0.0.0",  # noqa: S104 - inside its own network namespace
            "port": str(port),
            "compat": ["docker2s2"],
            "readTimeout": "60s",
            "writeTimeout": "60s",
            "auth": auth,
        },
        "log": {"level": "info"},
    }


def _retention(repositories: str, tags: str, count: int) -> dict[str, Any]:
    return {
        "repositories": [repositories],
        "deleteUntagged": True,
        "keepTags": [{"patterns": [tags], "mostRecentlyPushedCount": count}],
    }


def text(configured: dict[str, Any]) -> str:
    """Write a configuration as Zot reads it."""
    return json.dumps(configured, indent=2, sort_keys=True)


def render(
    image: str, htpasswd: object, signer: object, *, storage_gib: int
) -> list[shapes.Manifest]:
    """Render Zot as a StatefulSet with one volume, reachable by every machine on its node port.

    *htpasswd* and *signer* may be anything that stands for the text, such as a Pulumi output.
    """
    labels = {"app.kubernetes.io/name": "zot", **shapes.PART_OF}
    return [
        shapes.namespace(NAMESPACE),
        shapes.make(
            "v1",
            "ConfigMap",
            "zot-config",
            {
                "data": {
                    "config.json": text(configuration()),
                    "builds.json": text(builds_configuration()),
                }
            },
            namespace=NAMESPACE,
        ),
        shapes.make(
            "v1",
            "Secret",
            "zot-htpasswd",
            {"type": "Opaque", "stringData": {"htpasswd": htpasswd, "signer.pem": signer}},
            namespace=NAMESPACE,
        ),
        *_services(labels),
        _stateful_set(image, labels, storage_gib),
    ]


def _services(labels: dict[str, str]) -> list[shapes.Manifest]:
    port = {
        "name": "http",
        "port": PORT,
        "targetPort": PORT,
        "nodePort": NODE_PORT,
        "protocol": "TCP",
    }
    spec = {"type": "NodePort", "selector": dict(labels), "ports": [port]}
    # A Service of its own: this port is for pods, and on no machine.
    guarded = {"name": "http", "port": BUILDS_PORT, "targetPort": BUILDS_PORT, "protocol": "TCP"}
    inside = {"type": "ClusterIP", "selector": dict(labels), "ports": [guarded]}
    return [
        shapes.make("v1", "Service", name, {"spec": each}, namespace=NAMESPACE, labels=labels)
        for name, each in (("zot", spec), (BUILDS_SERVICE, inside))
    ]


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
            "containers": [
                _container(image, "zot", "config.json", PORT),
                _container(image, "builds", "builds.json", BUILDS_PORT),
            ],
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


def _container(image: str, name: str, configured: str, port: int) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/livez", "port": port}, "timeoutSeconds": 5}
    return {
        "name": name,
        "image": image,
        "args": ["serve", f"/etc/zot/{configured}"],
        "ports": [{"containerPort": port, "protocol": "TCP"}],
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
