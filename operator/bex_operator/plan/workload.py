"""What an App becomes: a Deployment, a Service, an Ingress and a PodDisruptionBudget. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import app, names, status
from bex_operator.plan import differences, releases, tiers

Manifest = dict[str, Any]

ROLLOUT_SECONDS = 900
"""How long a new release may take to start before the old one stays."""
DRAIN_SECONDS = 10
"""A pod goes on answering so long after it was told to end: routers learn of it a moment later."""
PROBE_SECONDS = 10
PROBE_TIMEOUT_SECONDS = 5
LIVENESS_FAILURES = 6
READINESS_SECONDS = 2
"""A kubelet that has just started lets each probe wait for a random part of its period: with ten
seconds the pods of a new machine, or of one that comes back, serve up to ten seconds late."""
READINESS_FAILURES = 15
OLD_REPLICA_SETS = 3

RESERVED_ENV = frozenset({"PORT", "BEX_REVISION"})


@dataclass(frozen=True, slots=True)
class Owner:
    """The App object that owns what is made for it."""

    name: str
    namespace: str
    uid: str


@dataclass(frozen=True, slots=True)
class Workload:
    """Everything an App needs; None is what it must not have (now)."""

    deployment: Manifest
    service: Manifest
    ingress: Manifest | None
    budget: Manifest | None
    autoscaler: Manifest | None
    """While there is one the Deployment says nothing of replicas."""


def owner_of(manifest: Mapping[str, Any]) -> Owner:
    """Read who owns the children of an App object."""
    metadata = manifest["metadata"]
    return Owner(metadata["name"], metadata["namespace"], metadata["uid"])


def replicas_of(wanted: app.App) -> int:
    """How many pods should run now, at least."""
    if wanted.suspended or wanted.replicas == 0:
        return 0
    return wanted.replicas if wanted.autoscaling is None else wanted.autoscaling.min_replicas


def is_autoscaled(wanted: app.App) -> bool:
    """Tell whether an autoscaler decides on replicas: parking wins over it."""
    return wanted.autoscaling is not None and replicas_of(wanted) > 0


def scale_of(wanted: app.App, deployment: Mapping[str, Any] | None) -> int:
    """How many pods should run now; an autoscaler's word stands in the Deployment."""
    if is_autoscaled(wanted) and _is_handed_over(deployment):
        return int((deployment or {})["spec"].get("replicas") or 1)
    return replicas_of(wanted)


def handover(made: Workload, observed: Mapping[str, Any] | None) -> int | None:
    """Choose the replicas that a Deployment starts with when an autoscaler takes it over.

    None if there is nothing to hand over. An autoscaler leaves a Deployment alone that has none,
    so one that somebody scaled to 0 by hand is handed over anew.
    """
    if made.autoscaler is None or observed is None or "spec" not in observed:
        return None
    replicas = int(observed["spec"].get("replicas") or 0)
    if _is_handed_over(observed) and replicas > 0:
        return None
    spec = made.autoscaler["spec"]
    return max(int(spec["minReplicas"]), min(replicas, int(spec["maxReplicas"])))


def _is_handed_over(deployment: Mapping[str, Any] | None) -> bool:
    annotations = ((deployment or {}).get("metadata") or {}).get("annotations") or {}
    return names.SCALED_BY_ANNOTATION in annotations


def render(
    wanted: app.App, owner: Owner, release: status.Release, hosts: Sequence[str]
) -> Workload:
    """Render what the App needs; *hosts* are those it may have, the main one first."""
    return Workload(
        deployment=_sealed(_deployment(wanted, owner, release)),
        service=_sealed(_service(wanted, owner)),
        ingress=_sealed(_ingress(owner, hosts)) if hosts else None,
        budget=_sealed(_budget(owner)) if _most_replicas(wanted) >= 2 else None,
        autoscaler=_sealed(_autoscaler(owner, wanted)) if is_autoscaled(wanted) else None,
    )


def _deployment(wanted: app.App, owner: Owner, release: status.Release) -> Manifest:
    child = _child("apps/v1", "Deployment", owner)
    child["metadata"]["annotations"] = {names.RELEASE_ANNOTATION: release.digest}
    if is_autoscaled(wanted):
        child["metadata"]["annotations"][names.SCALED_BY_ANNOTATION] = "autoscaler"
    child["spec"] = {
        **({} if is_autoscaled(wanted) else {"replicas": replicas_of(wanted)}),
        "revisionHistoryLimit": OLD_REPLICA_SETS,
        "progressDeadlineSeconds": ROLLOUT_SECONDS,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        # Selectors are immutable: the App's name and nothing that might ever change.
        "selector": {"matchLabels": _selector(owner)},
        "template": _template(wanted, owner, release),
    }
    return child


def _template(wanted: app.App, owner: Owner, release: status.Release) -> Manifest:
    revision = releases.revision(release)
    labels = _selector(owner) | {
        names.REVISION_LABEL: revision,
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
    }
    return {
        "metadata": {"labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": DRAIN_SECONDS + wanted.max_shutdown_delay_seconds,
            "securityContext": {
                "seccompProfile": {"type": "RuntimeDefault"},
                # Without capabilities a port below 1024 needs this; many images use 80.
                "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
            },
            "containers": [_container(wanted, revision)],
        },
    }


def _container(wanted: app.App, revision: str) -> Manifest:
    assert wanted.image is not None  # noqa: S101 - builds resolve to an image before this
    container: Manifest = {
        "name": names.CONTAINER,
        "image": wanted.image,
        # A tag may have moved since it was pulled; a digest cannot.
        "imagePullPolicy": "IfNotPresent" if "@sha256:" in wanted.image else "Always",
        "ports": [{"name": names.PORT_NAME, "containerPort": wanted.port, "protocol": "TCP"}],
        "env": _env(wanted, revision),
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
        # The last lines of a crash reach the App's status without access to logs.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        **_probes(wanted),
    }
    if wanted.command is not None:
        container["command"] = list(wanted.command)
    if wanted.args:
        container["args"] = list(wanted.args)
    if wanted.env_from_secret is not None:
        container["envFrom"] = [{"secretRef": {"name": wanted.env_from_secret}}]
    if resources := tiers.resources(wanted):
        container["resources"] = resources
    return container


def _env(wanted: app.App, revision: str) -> list[Manifest]:
    given = [_variable(each) for each in wanted.env if each.name not in RESERVED_ENV]
    return [
        *given,
        {"name": "PORT", "value": str(wanted.port)},
        {"name": "BEX_REVISION", "value": revision},
    ]


def _variable(variable: app.EnvVar) -> Manifest:
    if variable.value_from is not None:
        reference = variable.value_from.secret_key_ref
        source = {"secretKeyRef": {"name": reference.name, "key": reference.key}}
        return {"name": variable.name, "valueFrom": source}
    # The API server drops an empty value; sending it would look like drift for ever.
    return {"name": variable.name, **({"value": variable.value} if variable.value else {})}


def _probes(wanted: app.App) -> dict[str, Manifest]:
    handler: Manifest = {"tcpSocket": {"port": names.PORT_NAME}}
    if wanted.health_check_path is not None:
        path = {"path": wanted.health_check_path, "port": names.PORT_NAME, "scheme": "HTTP"}
        handler = {"httpGet": path}
    probe = {**handler, "timeoutSeconds": PROBE_TIMEOUT_SECONDS, "successThreshold": 1}
    regular = probe | {"periodSeconds": PROBE_SECONDS}
    return {
        # Asked every second, so that an App that starts in half a second serves in one, not ten.
        "startupProbe": probe | {"periodSeconds": 1, "failureThreshold": ROLLOUT_SECONDS},
        "readinessProbe": probe
        | {"periodSeconds": READINESS_SECONDS, "failureThreshold": READINESS_FAILURES},
        "livenessProbe": regular | {"failureThreshold": LIVENESS_FAILURES},
    }


def _service(wanted: app.App, owner: Owner) -> Manifest:
    port = {
        "name": names.PORT_NAME,
        "port": wanted.port,
        "targetPort": names.PORT_NAME,
        "protocol": "TCP",
    }
    child = _child("v1", "Service", owner)
    child["spec"] = {"type": "ClusterIP", "selector": _selector(owner), "ports": [port]}
    return child


def _ingress(owner: Owner, hosts: Sequence[str]) -> Manifest:
    backend = {"service": {"name": owner.name, "port": {"name": names.PORT_NAME}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    child = _child("networking.k8s.io/v1", "Ingress", owner)
    child["spec"] = {
        "ingressClassName": names.INGRESS_CLASS,
        "rules": [{"host": host, "http": {"paths": [path]}} for host in hosts],
    }
    return child


def _budget(owner: Owner) -> Manifest:
    child = _child("policy/v1", "PodDisruptionBudget", owner)
    child["spec"] = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": _selector(owner)},
        # A pod that never became ready must not hold up the drain of a machine.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return child


def _most_replicas(wanted: app.App) -> int:
    if wanted.autoscaling is not None and is_autoscaled(wanted):
        return wanted.autoscaling.max_replicas
    return replicas_of(wanted)


def _autoscaler(owner: Owner, wanted: app.App) -> Manifest:
    assert wanted.autoscaling is not None  # noqa: S101 - what is_autoscaled tells
    target = {"type": "Utilization", "averageUtilization": wanted.autoscaling.target_cpu_percent}
    child = _child("autoscaling/v2", "HorizontalPodAutoscaler", owner)
    child["spec"] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": owner.name},
        "minReplicas": wanted.autoscaling.min_replicas,
        "maxReplicas": wanted.autoscaling.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return child


def _selector(owner: Owner) -> dict[str, str]:
    return {names.APP_LABEL: owner.name}


def _child(api_version: str, kind: str, owner: Owner) -> Manifest:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": owner.name,
            "namespace": owner.namespace,
            "labels": {
                **_selector(owner),
                names.APP_UID_LABEL: owner.uid,
                names.MANAGED_BY_LABEL: names.MANAGED_BY,
            },
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": names.KIND,
                    "name": owner.name,
                    "uid": owner.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
    }


def _sealed(manifest: Manifest) -> Manifest:
    annotations = manifest["metadata"].get("annotations", {})
    seal = {names.APPLIED_ANNOTATION: differences.digest(manifest)}
    return manifest | {"metadata": manifest["metadata"] | {"annotations": annotations | seal}}
