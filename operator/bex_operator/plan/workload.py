"""What an App becomes: a Deployment, a Service, an Ingress and a PodDisruptionBudget. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import app, names, status
from bex_operator.plan import certificates, containers, differences, releases

Manifest = dict[str, Any]

OLD_REPLICA_SETS = 3


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
    """How many pods should run now; an autoscaler's word stands in the Deployment.

    Until it has heard of other bounds, its word is within those that it will have.
    """
    if wanted.autoscaling is not None and is_autoscaled(wanted) and _is_handed_over(deployment):
        said = int((deployment or {})["spec"].get("replicas") or 1)
        bounds = wanted.autoscaling
        return max(bounds.min_replicas, min(said, bounds.max_replicas))
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
    wanted: app.App,
    owner: Owner,
    release: status.Release,
    hosts: Sequence[str],
    issuer: str | None = None,
) -> Workload:
    """Render what the App needs; *hosts* are those it may have, the main one first.

    The *issuer* signs a certificate for each of them; without one the edge has its own.
    """
    return Workload(
        deployment=_sealed(_deployment(wanted, owner, release)),
        service=_sealed(_service(wanted, owner)),
        ingress=_sealed(_ingress(owner, hosts, issuer)) if hosts else None,
        budget=_sealed(_budget(owner)) if _most_replicas(wanted) >= 2 else None,
        autoscaler=_sealed(_autoscaler(owner, wanted)) if is_autoscaled(wanted) else None,
    )


def _deployment(wanted: app.App, owner: Owner, release: status.Release) -> Manifest:
    made = child("apps/v1", "Deployment", owner)
    made["metadata"]["annotations"] = {names.RELEASE_ANNOTATION: release.digest}
    if is_autoscaled(wanted):
        made["metadata"]["annotations"][names.SCALED_BY_ANNOTATION] = "autoscaler"
    made["spec"] = {
        **({} if is_autoscaled(wanted) else {"replicas": replicas_of(wanted)}),
        "revisionHistoryLimit": OLD_REPLICA_SETS,
        "progressDeadlineSeconds": containers.ROLLOUT_SECONDS,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        # Selectors are immutable: the App's name and nothing that might ever change.
        "selector": {"matchLabels": _selector(owner)},
        "template": _template(wanted, owner, release),
    }
    return made


def _template(wanted: app.App, owner: Owner, release: status.Release) -> Manifest:
    revision = releases.revision(release)
    labels = _selector(owner) | {
        names.REVISION_LABEL: revision,
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
    }
    return {
        "metadata": {"labels": labels},
        "spec": containers.serving(wanted, revision),
    }


def _service(wanted: app.App, owner: Owner) -> Manifest:
    port = {
        "name": names.PORT_NAME,
        "port": wanted.port,
        "targetPort": names.PORT_NAME,
        "protocol": "TCP",
    }
    made = child("v1", "Service", owner)
    made["spec"] = {"type": "ClusterIP", "selector": _selector(owner), "ports": [port]}
    return made


def _ingress(owner: Owner, hosts: Sequence[str], issuer: str | None) -> Manifest:
    backend = {"service": {"name": owner.name, "port": {"name": names.PORT_NAME}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    made = child("networking.k8s.io/v1", "Ingress", owner)
    made["spec"] = {
        "ingressClassName": names.INGRESS_CLASS,
        "rules": [{"host": host, "http": {"paths": [path]}} for host in hosts],
    }
    if issuer is not None:
        made["metadata"]["annotations"] = {certificates.ISSUER_ANNOTATION: issuer}
        made["spec"]["tls"] = certificates.tls(owner.name, hosts)
    return made


def _budget(owner: Owner) -> Manifest:
    made = child("policy/v1", "PodDisruptionBudget", owner)
    made["spec"] = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": _selector(owner)},
        # A pod that never became ready must not hold up the drain of a machine.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return made


def _most_replicas(wanted: app.App) -> int:
    if wanted.autoscaling is not None and is_autoscaled(wanted):
        return wanted.autoscaling.max_replicas
    return replicas_of(wanted)


def _autoscaler(owner: Owner, wanted: app.App) -> Manifest:
    assert wanted.autoscaling is not None  # noqa: S101 - what is_autoscaled tells
    target = {"type": "Utilization", "averageUtilization": wanted.autoscaling.target_cpu_percent}
    made = child("autoscaling/v2", "HorizontalPodAutoscaler", owner)
    made["spec"] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": owner.name},
        "minReplicas": wanted.autoscaling.min_replicas,
        "maxReplicas": wanted.autoscaling.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return made


def _selector(owner: Owner) -> dict[str, str]:
    return {names.APP_LABEL: owner.name}


def child(api_version: str, kind: str, owner: Owner) -> Manifest:
    """Render what every object made for an App has in common."""
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
