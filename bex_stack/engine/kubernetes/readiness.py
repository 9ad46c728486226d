"""When an object counts as ready, decided from what the API server shows. Pure.

Source: pulumi-kubernetes provider/pkg/await and kubectl rollout status; Ingress is waited for only
when asked, because which controller serves a class, if any, cannot be seen.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bex_stack.engine import errors
from bex_stack.engine.kubernetes import objects

SKIP = "pulumi.com/skipAwait"
WAIT_FOR = "pulumi.com/waitFor"
TIMEOUT = "pulumi.com/timeoutSeconds"
DEFAULT_TIMEOUT_SECONDS = 600.0
_JSON_PATH = re.compile(r"\{?\s*(\.[^=}\s]*)\s*\}?(?:=(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an object is ready, what it still wants, and whether that is hopeless."""

    ready: bool
    message: str = ""
    failed: bool = False


READY = Verdict(True)
Test = Callable[[objects.Object, Sequence[objects.Object]], Verdict]
"""Judges an object by itself and the objects related to it."""


@dataclass(frozen=True, slots=True)
class Related:
    """Other objects a test looks at: their kind and a label selector."""

    api_version: str
    kind: str
    labels: str


def test_of(inputs: objects.Object) -> Test | None:
    """Return how to judge the object, or None when it is not waited for.

    Raises: ProviderError for a `pulumi.com/waitFor` that cannot be read.
    """
    if objects.is_annotated(inputs, SKIP):
        return None
    asked = objects.annotations(inputs).get(WAIT_FOR)
    if asked:
        return _all([_asked(each) for each in _expressions(asked)])
    return _TESTS.get((str(inputs.get("apiVersion")), str(inputs.get("kind"))))


def timeout_of(inputs: objects.Object, given: float | None) -> float:
    """Return how long to wait: the resource's custom timeout, its annotation, or 10 minutes."""
    text = objects.annotations(inputs).get(TIMEOUT, "")
    if given:
        return given
    return float(text) if text.isdigit() else DEFAULT_TIMEOUT_SECONDS


def related_to(obj: objects.Object) -> Related | None:
    """Return which other objects the test of this one wants to see."""
    spec = obj.get("spec") or {}
    match (obj.get("apiVersion"), obj.get("kind")):
        case ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet") | ("batch/v1", "Job"):
            labels = (spec.get("selector") or {}).get("matchLabels") or {}
            return Related("v1", "Pod", _selector(labels)) if labels else None
        case ("v1", "Service"):
            name = objects.name_of(obj)
            labels = f"kubernetes.io/service-name={name}"
            return Related("discovery.k8s.io/v1", "EndpointSlice", labels)
        case ("v1", "PersistentVolumeClaim"):
            return Related("storage.k8s.io/v1", "StorageClass", "")
    return None


def condition(obj: objects.Object, name: str) -> Mapping[str, Any]:
    """Return a condition of the object's status, or an empty one."""
    found = (obj.get("status") or {}).get("conditions") or []
    return next((each for each in found if each.get("type") == name), {})


def _expressions(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError:
        return [text]
    if not isinstance(found, list) or not found:
        raise errors.ProviderError(f"annotation {WAIT_FOR}: {text!r} names nothing to wait for")
    return [str(each) for each in found]


def _asked(expression: str) -> Test:
    prefix, _, rest = expression.replace("'", "").replace('"', "").partition("=")
    if prefix == "condition" and rest:
        name, _, status = rest.partition("=")
        return lambda obj, _: _has_condition(obj, name, status or "True")
    match = _JSON_PATH.fullmatch(rest) if prefix == "jsonpath" else None
    if match is None or "[" in match.group(1):
        raise errors.ProviderError(
            f"annotation {WAIT_FOR}: {expression!r} must read `condition=Type[=Status]` or "
            "`jsonpath={.path.to.field}[=value]` without lists"
        )
    steps = [each for each in match.group(1).split(".") if each]
    return lambda obj, _: _has_value(obj, steps, match.group(2))


def _all(tests: Sequence[Test]) -> Test:
    def judge(obj: objects.Object, related: Sequence[objects.Object]) -> Verdict:
        for test in tests:
            verdict = test(obj, related)
            if not verdict.ready:
                return verdict
        return READY

    return judge


def _has_condition(obj: objects.Object, name: str, status: str) -> Verdict:
    """Judge by a condition that speaks of the object's present generation."""
    found = condition(obj, name)
    wanted = (obj.get("metadata") or {}).get("generation") or 0
    seen = found.get("observedGeneration", (obj.get("status") or {}).get("observedGeneration"))
    if not found:
        return Verdict(False, f"condition {name} is not reported yet")
    if seen is not None and seen < wanted:
        return Verdict(False, f"condition {name} is of generation {seen}, wanted is {wanted}")
    if str(found.get("status")).lower() == status.lower():
        return READY
    detail = ": ".join(str(found[key]) for key in ("reason", "message") if found.get(key))
    return Verdict(
        False, f"condition {name} is {found.get('status')}" + f" ({detail})" * bool(detail)
    )


def _has_value(obj: objects.Object, steps: Iterable[str], wanted: str | None) -> Verdict:
    value: Any = obj
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    path = "." + ".".join(steps)
    if value is None:
        return Verdict(False, f"{path} is not set yet")
    if wanted is None or str(value) == wanted:
        return READY
    return Verdict(False, f"{path} is {value!r}, wanted is {wanted}")


def _observed(obj: objects.Object) -> bool:
    generation = (obj.get("metadata") or {}).get("generation") or 0
    return ((obj.get("status") or {}).get("observedGeneration") or 0) >= generation


def _deployment(obj: objects.Object, pods: Sequence[objects.Object]) -> Verdict:
    status = obj.get("status") or {}
    wanted = (obj.get("spec") or {}).get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    progressing = condition(obj, "Progressing")
    if not _observed(obj):
        return Verdict(False, "the controller has not seen it yet")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        reason = f"{available} of {wanted} replicas became available{_trouble(pods)}"
        return Verdict(False, reason, failed=True)
    if updated < wanted or available < updated or status.get("replicas", 0) > updated:
        return Verdict(
            False, f"{min(available, updated)} of {wanted} replicas ready{_trouble(pods)}"
        )
    return READY


def _stateful_set(obj: objects.Object, pods: Sequence[objects.Object]) -> Verdict:
    status, spec = obj.get("status") or {}, obj.get("spec") or {}
    wanted = spec.get("replicas", 1)
    rolling = (spec.get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
    behind = rolling and status.get("currentRevision") != status.get("updateRevision")
    ready = status.get("readyReplicas", 0)
    if not _observed(obj):
        return Verdict(False, "the controller has not seen it yet")
    if ready < wanted or (behind and status.get("updatedReplicas", 0) < wanted):
        return Verdict(False, f"{ready} of {wanted} replicas ready{_trouble(pods)}")
    return READY


def _daemon_set(obj: objects.Object, pods: Sequence[objects.Object]) -> Verdict:
    status = obj.get("status") or {}
    wanted = status.get("desiredNumberScheduled", 0)
    updated, ready = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
    if not _observed(obj):
        return Verdict(False, "the controller has not seen it yet")
    if min(updated, ready) < wanted:
        return Verdict(False, f"{min(updated, ready)} of {wanted} pods ready{_trouble(pods)}")
    return READY


def _job(obj: objects.Object, pods: Sequence[objects.Object]) -> Verdict:
    failed = condition(obj, "Failed")
    if failed.get("status") == "True":
        return Verdict(False, f"the job failed: {failed.get('message', '')}{_trouble(pods)}", True)
    if condition(obj, "Complete").get("status") == "True":
        return READY
    done = (obj.get("status") or {}).get("succeeded", 0)
    return Verdict(False, f"{done} pods succeeded so far{_trouble(pods)}")


def _pod(obj: objects.Object, _: Sequence[objects.Object]) -> Verdict:
    phase = (obj.get("status") or {}).get("phase")
    if phase == "Succeeded" or condition(obj, "Ready").get("status") == "True":
        return READY
    if phase == "Failed":
        return Verdict(False, f"the pod failed{_trouble([obj])}", failed=True)
    return Verdict(False, f"phase {phase}{_trouble([obj])}")


def _service(obj: objects.Object, slices: Sequence[objects.Object]) -> Verdict:
    spec = obj.get("spec") or {}
    if spec.get("type") == "ExternalName" or not spec.get("selector"):
        return READY
    if spec.get("type") == "LoadBalancer":
        balancer = (obj.get("status") or {}).get("loadBalancer") or {}
        return READY if balancer.get("ingress") else Verdict(False, "no load balancer address yet")
    if spec.get("clusterIP") == "None":
        return READY
    for piece in slices:
        for endpoint in piece.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                return READY
    return Verdict(False, "no ready endpoint yet")


def _claim(obj: objects.Object, classes: Sequence[objects.Object]) -> Verdict:
    phase = (obj.get("status") or {}).get("phase")
    wanted = (obj.get("spec") or {}).get("storageClassName")
    waits = any(
        objects.name_of(each) == wanted and each.get("volumeBindingMode") == "WaitForFirstConsumer"
        for each in classes
    )
    if phase == "Bound" or (waits and phase == "Pending"):
        return READY
    return Verdict(False, f"phase {phase}, wanted is Bound")


def _volume(obj: objects.Object, _: Sequence[objects.Object]) -> Verdict:
    phase = (obj.get("status") or {}).get("phase")
    return READY if phase in ("Available", "Bound") else Verdict(False, f"phase {phase}")


def _definition(obj: objects.Object, _: Sequence[objects.Object]) -> Verdict:
    names = condition(obj, "NamesAccepted")
    if names.get("status") == "False":
        return Verdict(
            False, f"its names are not accepted: {names.get('message', '')}", failed=True
        )
    return _has_condition(obj, "Established", "True")


def _namespace(obj: objects.Object, _: Sequence[objects.Object]) -> Verdict:
    phase = (obj.get("status") or {}).get("phase")
    return READY if phase == "Active" else Verdict(False, f"phase {phase}, wanted is Active")


def _trouble(pods: Sequence[objects.Object]) -> str:
    """Return what the first pod in trouble says, to stand behind a count."""
    for pod in pods:
        status = pod.get("status") or {}
        statuses = [
            *(status.get("initContainerStatuses") or []),
            *(status.get("containerStatuses") or []),
        ]
        for each in statuses:
            waiting = (each.get("state") or {}).get("waiting") or {}
            ended = (each.get("state") or {}).get("terminated") or {}
            found = waiting if waiting.get("reason") not in (None, "ContainerCreating") else ended
            if found and found.get("reason") not in ("PodInitializing", "Completed"):
                detail = f": {found['message']}" if found.get("message") else ""
                return f"; pod {objects.name_of(pod)}: {found.get('reason')}{detail}"
        scheduled = condition(pod, "PodScheduled")
        if scheduled.get("status") == "False":
            return f"; pod {objects.name_of(pod)}: {scheduled.get('message', 'not scheduled')}"
    return ""


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


_TESTS: dict[tuple[str, str], Test] = {
    ("apps/v1", "Deployment"): _deployment,
    ("apps/v1", "StatefulSet"): _stateful_set,
    ("apps/v1", "DaemonSet"): _daemon_set,
    ("batch/v1", "Job"): _job,
    ("v1", "Pod"): _pod,
    ("v1", "Service"): _service,
    ("v1", "PersistentVolumeClaim"): _claim,
    ("v1", "PersistentVolume"): _volume,
    ("v1", "Namespace"): _namespace,
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): _definition,
}
