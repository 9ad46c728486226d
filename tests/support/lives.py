"""What may be asked of an App in its life, step by step, and who plays the rest of the cluster."""

import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from bex_operator.api import names
from bex_operator.kube import client, errors, kinds
from tests.support.apps_cluster import app_manifest
from tests.support.waiting import until

Step = Callable[[client.Client, str], Awaitable[Any]]
_TIME = "2026-01-31T12:00:00Z"


async def create(kube: client.Client, namespace: str) -> None:
    """A new App."""
    await _make(kube, namespace, replicas=2, host=f"web.{namespace}.example.com")


async def change(kube: client.Client, namespace: str) -> None:
    """Another image."""
    await _patch(kube, namespace, {"image": "example.com/web:2"})


async def scale(kube: client.Client, namespace: str) -> None:
    """One replica, which needs no disruption budget."""
    await _patch(kube, namespace, {"replicas": 1})


async def move(kube: client.Client, namespace: str) -> None:
    """Another host."""
    await _patch(kube, namespace, {"host": f"new.{namespace}.example.com"})


async def roll_back(kube: client.Client, namespace: str) -> None:
    """Back to the first release."""
    metadata = {"annotations": {names.ROLLBACK_ANNOTATION: "rev-1"}}
    await kube.patch(kinds.APP, "web", namespace, {"metadata": metadata}, field_manager="test")


async def suspend(kube: client.Client, namespace: str) -> None:
    """Parked."""
    await _patch(kube, namespace, {"suspended": True})


async def resume(kube: client.Client, namespace: str) -> None:
    """No longer parked."""
    await _patch(kube, namespace, {"suspended": False})


async def delete(kube: client.Client, namespace: str) -> None:
    """Deleted."""
    await kube.delete(kinds.APP, "web", namespace)


LIFE: tuple[Step, ...] = (create, change, scale, move, roll_back, suspend, delete)
"""What everybody does."""


async def create_scaled(kube: client.Client, namespace: str) -> None:
    """A new App whose replicas an autoscaler owns."""
    scaling = {"minReplicas": 2, "maxReplicas": 4}
    host = f"web.{namespace}.example.com"
    await _make(kube, namespace, tier="free", autoscaling=scaling, host=host)


async def serve(kube: client.Client, namespace: str) -> None:
    """The pods that the Deployment asks for are there and ready, and no others."""
    deployment = await kube.get(kinds.DEPLOYMENT, "web", namespace)
    template, wanted = deployment["spec"]["template"], deployment["spec"]["replicas"]
    revision = template["metadata"]["labels"][names.REVISION_LABEL]
    seen = {"observedGeneration": deployment["metadata"]["generation"]}
    seen |= {"replicas": wanted, "updatedReplicas": wanted, "readyReplicas": wanted}
    await _report(kube, kinds.DEPLOYMENT, "web", namespace, seen)
    for number in range(wanted):
        await _run_pod(kube, namespace, f"web-{revision}-{number}", template)
    for pod in (await kube.list(kinds.POD, namespace)).items:
        if not pod["metadata"]["name"].startswith(f"web-{revision}-"):
            await kube.delete(kinds.POD, pod["metadata"]["name"], namespace, grace_seconds=0)


async def prepare(kube: client.Client, namespace: str, revision: str = "rev-2") -> None:
    """A release that runs a command first; the command begins."""
    spec = {"image": f"example.com/web:{revision}", "preDeployCommand": ["migrate"]}
    await _patch(kube, namespace, spec)
    await until(functools.partial(_job, kube, namespace, revision), f"{revision} has its Job")


async def prepared(kube: client.Client, namespace: str) -> None:
    """The command has done its work."""
    job = (await _job(kube, namespace, "rev-2"))["metadata"]["name"]
    ends = [_ended("SuccessCriteriaMet"), _ended("Complete")]
    told = {"startTime": _TIME, "completionTime": _TIME, "succeeded": 1, "conditions": ends}
    await _report(kube, kinds.JOB, job, namespace, told)


async def fail(kube: client.Client, namespace: str) -> None:
    """A further release whose command fails: what serves goes on."""
    await prepare(kube, namespace, "rev-3")
    job = (await _job(kube, namespace, "rev-3"))["metadata"]["name"]
    ends = [_ended("FailureTarget"), _ended("Failed")]
    await _report(kube, kinds.JOB, job, namespace, {"startTime": _TIME, "conditions": ends})


async def fix_number(kube: client.Client, namespace: str) -> None:
    """No autoscaler any more, and three replicas."""
    await _patch(kube, namespace, {"autoscaling": None, "replicas": 3})


FULL_LIFE: tuple[Step, ...] = (
    *(create_scaled, serve, prepare, prepared, serve),
    *(fix_number, fail, suspend, resume, delete),
)
"""What takes an App through everything else: an autoscaler, pods, commands, a failed release."""
LIVES = {"life": LIFE, "full life": FULL_LIFE}


async def collect(kube: client.Client, namespace: str, among: Iterable[kinds.Kind]) -> None:
    """What belongs to an App that is gone goes, as the cluster's garbage collector sees to it."""
    apps = {each["metadata"]["uid"] for each in (await kube.list(kinds.APP, namespace)).items}
    for kind in among:
        for item in (await kube.list(kind, namespace)).items:
            metadata = item["metadata"]
            owners = {each["uid"] for each in metadata.get("ownerReferences", ())}
            if owners and not owners & apps:
                await kube.delete(kind, metadata["name"], namespace, uid=metadata["uid"])


async def _make(kube: client.Client, namespace: str, **spec: Any) -> None:
    await kube.create(app_manifest(namespace, **spec), field_manager="test")


async def _patch(kube: client.Client, namespace: str, spec: dict[str, Any]) -> None:
    await kube.patch(kinds.APP, "web", namespace, {"spec": spec}, field_manager="test")


async def _report(
    kube: client.Client, kind: kinds.Kind, name: str, namespace: str, told: dict[str, Any]
) -> None:
    await kube.patch(kind, name, namespace, {"status": told}, subresource="status")


async def _run_pod(
    kube: client.Client, namespace: str, name: str, template: dict[str, Any]
) -> None:
    metadata = {**template["metadata"], "name": name, "namespace": namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    try:
        await kube.create(pod, field_manager="kubelet")
    except errors.AlreadyExists:
        return
    met = [{"type": each, "status": "True"} for each in ("PodScheduled", "Ready")]
    await _report(kube, kinds.POD, name, namespace, {"phase": "Running", "conditions": met})


async def _job(kube: client.Client, namespace: str, revision: str) -> Any:
    labels = f"{names.REVISION_LABEL}={revision}"
    found = (await kube.list(kinds.JOB, namespace, labels=labels)).items
    return found[0] if found else None


def _ended(kind: str) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": "Played", "lastTransitionTime": _TIME}
