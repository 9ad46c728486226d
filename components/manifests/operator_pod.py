"""The operator as pods: the same bytes on every substrate for the same arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bex_operator import api
from bex_operator.api import names
from components.manifests import operator

Manifest = dict[str, Any]

NAME = "bex-controller-manager"
CONTAINER = "operator"
PORT = 8081
WEBHOOK_PORT = 8082
WEBHOOKS = "bex-webhooks"
"""Service and Ingress that lead git servers to the operator."""
RUN_AS = 65532
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
TOLERATES_CONTROL_PLANE: Manifest = {
    "key": CONTROL_PLANE,
    "operator": "Exists",
    "effect": "NoSchedule",
}
ON_CONTROL_PLANE: Mapping[str, str] = {CONTROL_PLANE: ""}
"""Node selector: the control plane's machines only; goes with the toleration."""
ISSUER_OPTION = "certificate-issuer"

_LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "bex"}
_SELECTOR = {"app.kubernetes.io/name": NAME}
_DEADLINE_SECONDS = 180
"""A rollout that takes longer fails; the pods before it go on working."""
_LOST_SECONDS = 30
"""How long a pod stays bound to a machine that does not answer."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A Secret, and the folder where the operator finds its files."""

    secret: str
    folder: str


@dataclass(frozen=True, slots=True)
class Pod:
    """What differs between stacks."""

    image: Any
    """Reference with a digest; may be an Output."""
    replicas: int = 2
    """One acts, the others stand by, each on a machine of its own: no more than machines."""
    runtime: str = "kubernetes"
    """What runs the Apps' containers (BEX_RUNTIME)."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further options of the operator, by their names on its command line."""
    mounts: Sequence[Mount] = ()
    """Where the files are that options name."""
    webhook_host: str | None = None
    """Where git servers reach the operator through the edge; None: nowhere."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Manifest] = (TOLERATES_CONTROL_PLANE,)


def render(pod: Pod) -> list[Manifest]:
    """Render the Deployment and its disruption budget; `operator.render` comes before."""
    hooks = _webhooks(pod.webhook_host) if pod.webhook_host is not None else []
    return [_deployment(pod), _budget(), *hooks]


def environment(pod: Pod) -> dict[str, str]:
    """Spell the options as the variables that the operator reads."""
    options = {
        "runtime": pod.runtime,
        "health-address": "0.0.0.0",  # noqa: S104 - the kubelet asks the pod's address
        "health-port": str(PORT),
        "lease-namespace": api.SYSTEM_NAMESPACE,
        **({"webhook-port": str(WEBHOOK_PORT)} if pod.webhook_host is not None else {}),
        **pod.options,
    }
    return {f"BEX_{name.upper().replace('-', '_')}": value for name, value in options.items()}


def _metadata() -> Manifest:
    return {"name": NAME, "namespace": api.SYSTEM_NAMESPACE, "labels": _LABELS}


def _deployment(pod: Pod) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(),
        "spec": {
            "replicas": pod.replicas,
            "progressDeadlineSeconds": _DEADLINE_SECONDS,
            "selector": {"matchLabels": _SELECTOR},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": {"metadata": {"labels": _LABELS}, "spec": _pod_spec(pod)},
        },
    }


def _pod_spec(pod: Pod) -> Manifest:
    return {
        "serviceAccountName": operator.SERVICE_ACCOUNT,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 30,
        "nodeSelector": dict(pod.node_selector),
        "tolerations": [*pod.tolerations, *_leaves_lost_machines()],
        "affinity": _affinity(),
        "topologySpreadConstraints": [_apart(pod)],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": RUN_AS,
            "runAsGroup": RUN_AS,
            "fsGroup": RUN_AS,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(pod)],
        "volumes": [
            {"name": _volume(mount), "secret": {"secretName": mount.secret, "defaultMode": 0o440}}
            for mount in pod.mounts
        ],
    }


def _volume(mount: Mount) -> str:
    return mount.folder.rpartition("/")[2]


def _leaves_lost_machines() -> list[Manifest]:
    return [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": _LOST_SECONDS,
        }
        for state in ("not-ready", "unreachable")
    ]


def _affinity() -> Manifest:
    """Prefer the control plane's machines."""
    beside = {"matchExpressions": [{"key": CONTROL_PLANE, "operator": "Exists"}]}
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    return {"nodeAffinity": {preferred: [{"weight": 1, "preference": beside}]}}


def _apart(pod: Pod) -> Manifest:
    """Give each replica a machine of its own, also while there is only one machine yet."""
    return {
        "topologyKey": "kubernetes.io/hostname",
        "maxSkew": 1,
        "minDomains": pod.replicas,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": _SELECTOR},
        # Pods of the release before do not count, or a rollout would wait for a third machine.
        "matchLabelKeys": ["pod-template-hash"],
    }


def _container(pod: Pod) -> Manifest:
    given = environment(pod).items()
    return {
        "name": CONTAINER,
        "image": pod.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["operator", "--leader-elect"],
        "env": [{"name": name, "value": value} for name, value in given],
        "ports": [{"name": "health", "containerPort": PORT}],
        "volumeMounts": [
            {"name": _volume(mount), "mountPath": mount.folder, "readOnly": True}
            for mount in pod.mounts
        ],
        "startupProbe": _probe("healthz", every_seconds=1, failures=60),
        "livenessProbe": _probe("healthz", every_seconds=10, failures=3),
        "readinessProbe": _probe("readyz", every_seconds=2, failures=3),
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            # 10,000 Apps need about 240 MiB; a CPU limit would only slow a backlog down.
            "limits": {"memory": "512Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _probe(path: str, *, every_seconds: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": f"/{path}", "port": "health"},
        "periodSeconds": every_seconds,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _budget() -> Manifest:
    """Let one pod go at a time; a single one may go, too, or its machine could not be drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _SELECTOR}},
    }


def _webhooks(host: str) -> list[Manifest]:
    """Lead requests for *host* to the operator's pods, whichever of them leads."""
    metadata = {**_metadata(), "name": WEBHOOKS}
    backend = {"service": {"name": WEBHOOKS, "port": {"name": "http"}}}
    path = {"path": "/hooks/", "pathType": "Prefix", "backend": backend}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {
                "selector": _SELECTOR,
                "ports": [
                    {
                        "name": "http",
                        "port": 80,
                        "protocol": "TCP",
                        "targetPort": WEBHOOK_PORT,
                    }
                ],
            },
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": metadata,
            "spec": {
                "ingressClassName": names.INGRESS_CLASS,
                "rules": [{"host": host, "http": {"paths": [path]}}],
            },
        },
    ]
