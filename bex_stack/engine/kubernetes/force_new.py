"""Fields that cannot change in place: changing one means a new object.

Source: pulumi-kubernetes provider/pkg/provider/diff.go, the forceNew table.
"""

from typing import Any

from bex_stack.engine import paths

_IDENTITY = ("metadata.name", "metadata.namespace")
_SELECTOR = ("spec.selector",)

_POD_FIELDS = (
    "affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases "
    "hostIPC hostNetwork hostPID hostname imagePullSecrets nodeName nodeSelector overhead "
    "preemptionPolicy priority priorityClassName readinessGates restartPolicy runtimeClassName "
    "schedulerName securityContext serviceAccount serviceAccountName shareProcessNamespace "
    "subdomain terminationGracePeriodSeconds volumes"
)
_CONTAINER_FIELDS = (
    "args command env image imagePullPolicy lifecycle livenessProbe ports readinessProbe "
    "resources securityContext stdin stdinOnce terminationMessagePath terminationMessagePolicy "
    "tty volumeDevices volumeMounts workingDir"
)
_VOLUME_SOURCES = (
    "awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker "
    "gcePersistentDisk glusterfs hostPath iscsi local nfs photonPersistentDisk portworxVolume "
    "quobyte rbd scaleIO storageos vsphereVolume"
)
_POD = (
    *(f"spec.{each}" for each in _POD_FIELDS.split()),
    *(f"spec.containers[*].{each}" for each in _CONTAINER_FIELDS.split()),
    *(f"spec.initContainers[*].{each}" for each in _CONTAINER_FIELDS.split()),
)
_VOLUME = tuple(f"spec.{each}" for each in _VOLUME_SOURCES.split())
_STATEFUL_SET = (
    "spec.podManagementPolicy",
    "spec.revisionHistoryLimit",
    "spec.serviceName",
    "spec.volumeClaimTemplates",
    *_SELECTOR,
)
_JOB = ("spec.completions", "spec.parallelism", "spec.template", *_SELECTOR)
_CLAIM = ("spec.accessModes", "spec.storageClassName", "spec.volumeName", *_SELECTOR)

_TABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps/v1", "DaemonSet"): _SELECTOR,
    ("apps/v1", "Deployment"): _SELECTOR,
    ("apps/v1", "StatefulSet"): _STATEFUL_SET,
    ("batch/v1", "Job"): _JOB,
    ("v1", "PersistentVolume"): _VOLUME,
    ("v1", "PersistentVolumeClaim"): _CLAIM,
    ("v1", "Pod"): _POD,
    ("v1", "ResourceQuota"): ("spec.scopes",),
    ("v1", "Secret"): ("type",),
    ("v1", "Service"): ("spec.clusterIP",),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): ("roleRef",),
    ("storage.k8s.io/v1", "StorageClass"): ("parameters", "provisioner"),
}


def patterns(
    obj: dict[str, Any], *, patch: bool, mutable_config_maps: bool, mutable_secrets: bool
) -> tuple[paths.Path, ...]:
    """Return the places of this object that force a replacement."""
    found = list(_IDENTITY)
    if not patch:
        key = (str(obj.get("apiVersion")), str(obj.get("kind")))
        immutable = obj.get("immutable") is True
        if key == ("v1", "Secret") and (not mutable_secrets or immutable):
            found += ["type", "stringData", "data"]
        elif key == ("v1", "ConfigMap") and (not mutable_config_maps or immutable):
            found += ["binaryData", "data"]
        else:
            found += _TABLE.get(key, ())
    return tuple(paths.parse(each) for each in found)


def forces(pattern: paths.Path, place: paths.Path, value: Any) -> bool:
    """Say whether a change at `place` to `value` touches what the pattern names.

    The change may lie below the pattern, or above it with the pattern's field in the new value.
    """
    for want, have in zip(pattern, place, strict=False):
        if want != have and not (want == "*" and isinstance(have, int)):
            return False
    return len(place) >= len(pattern) or _reaches(value, pattern[len(place) :])


def _reaches(value: Any, rest: paths.Path) -> bool:
    if not rest:
        return True
    if isinstance(value, str):
        # An unknown value may hold anything: replacing is the safe answer.
        return True
    if rest[0] == "*":
        return isinstance(value, list) and any(_reaches(each, rest[1:]) for each in value)
    return isinstance(value, dict) and rest[0] in value and _reaches(value[rest[0]], rest[1:])
