"""Cluster API objects that are the same for every infrastructure provider (v1beta2)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.manifests import shapes

NAMESPACE = "bex-capi"
"""Where everything of Cluster API's lives on the infra cluster; its Secrets open the app cluster,
so nothing else does."""
CORE = "cluster.x-k8s.io/v1beta2"
CONTROL_PLANE = "controlplane.cluster.x-k8s.io/v1beta2"
BOOTSTRAP = "bootstrap.cluster.x-k8s.io/v1beta2"
INFRASTRUCTURE_GROUP = "infrastructure.cluster.x-k8s.io"

UNHEALTHY_SECONDS = 600
"""180 s killed healthy machines: a fresh node is not Ready until the pod network reaches it."""
STARTUP_SECONDS = 1200
POOL_LABEL = "node.cluster.x-k8s.io/pool"
"""Cluster API copies labels of this domain from a Machine to its Node."""
_SCHEDULER_CONFIG = "/etc/kubernetes/scheduler-config.yaml"
_CIPHERS = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,"
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
)

Manifest = shapes.Manifest


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint that every machine of a pool has from its start."""

    key: str
    value: str
    effect: str = "NoSchedule"

    def __str__(self) -> str:
        """Write it as the kubelet and the autoscaler do."""
        return f"{self.key}={self.value}:{self.effect}"


@dataclass(frozen=True, slots=True)
class Size:
    """What the autoscaler is told of a machine that does not exist yet."""

    cpus: int
    memory_gib: int
    disk_gib: int


@dataclass(frozen=True, slots=True)
class Pool:
    """Machines that are alike."""

    name: str
    machine_kind: str
    """Kind of the provider's machine template, like `DevMachineTemplate`."""
    machine_spec: Mapping[str, Any]
    """Its `spec.template.spec`; what it holds decides the template's name."""
    replicas: int | None
    """How many; None when the autoscaler decides between *least* and *most*."""
    least: int = 0
    most: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Taint] = ()
    size: Size | None = None
    failure_domain: str | None = None


@dataclass(frozen=True, slots=True)
class Machines:
    """How the machines of a provider are set up."""

    machine_version: str
    """apiVersion of the provider's machine templates."""
    kubelet_args: Mapping[str, str]
    files: Sequence[Mapping[str, Any]] = ()
    commands: Sequence[str] = ()
    """Run before kubeadm; each must succeed."""
    patches: Mapping[str, Any] = field(default_factory=dict)
    """Further kubeadm settings of the control plane."""
    advertised: str | None = None
    """Address the control plane's machines tell one another; kubeadm chooses without it."""
    remediation: Mapping[str, str] | None = None
    """Template of the provider's way to mend a machine before it is replaced."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """An app cluster, apart from where its machines come from."""

    name: str
    version: str
    pod_network: str
    service_network: str
    control_planes: int
    infrastructure_kind: str
    """Kind of the provider's cluster object; its name is the cluster's."""
    unhealthy_seconds: int = UNHEALTHY_SECONDS
    """How long a machine may be not Ready before it is replaced."""


def cluster(wanted: Cluster) -> Manifest:
    """Render the Cluster; deleting it deletes its machines, load balancer and network."""
    group, _, _ = CONTROL_PLANE.partition("/")
    spec = {
        "clusterNetwork": {
            "pods": {"cidrBlocks": [wanted.pod_network]},
            "services": {"cidrBlocks": [wanted.service_network]},
            "serviceDomain": "cluster.local",
        },
        "controlPlaneRef": {
            "apiGroup": group,
            "kind": "KubeadmControlPlane",
            "name": control_plane_name(wanted.name),
        },
        "infrastructureRef": {
            "apiGroup": INFRASTRUCTURE_GROUP,
            "kind": wanted.infrastructure_kind,
            "name": wanted.name,
        },
    }
    return shapes.make(CORE, "Cluster", wanted.name, {"spec": spec}, namespace=NAMESPACE)


def control_plane(
    wanted: Cluster, machines: Machines, kind: str, machine: Mapping[str, Any]
) -> list[Manifest]:
    """Render the machine template of the control plane and the KubeadmControlPlane."""
    name = control_plane_name(wanted.name)
    template = _machine_template(machines, kind, name, machine)
    registration = {"kubeletExtraArgs": shapes.pairs(machines.kubelet_args)}
    endpoint = {}
    if machines.advertised is not None:
        endpoint = {"localAPIEndpoint": {"advertiseAddress": machines.advertised, "bindPort": 6443}}
    config = {
        "clusterConfiguration": _cluster_configuration(machines.patches),
        "initConfiguration": {"nodeRegistration": registration, **endpoint},
        "joinConfiguration": {
            "nodeRegistration": registration,
            **({"controlPlane": endpoint} if endpoint else {}),
        },
        "files": [_scheduler_file(), *map(dict, machines.files)],
        "preKubeadmCommands": list(machines.commands),
    }
    spec = {
        "replicas": wanted.control_planes,
        "version": wanted.version,
        "machineTemplate": {"spec": {"infrastructureRef": _reference(template)}},
        "kubeadmConfigSpec": _without_empty(config),
        "rollout": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
        "remediation": {"maxRetry": 3, "retryPeriodSeconds": 600},
    }
    made = shapes.make(CONTROL_PLANE, "KubeadmControlPlane", name, {"spec": spec})
    made["metadata"]["namespace"] = NAMESPACE
    return [template, made]


def pool(wanted: Cluster, machines: Machines, each: Pool) -> list[Manifest]:
    """Render a pool: machine template, kubeadm template, MachineDeployment, MachineHealthCheck.

    Both templates are named after their content: a change makes new ones and rolls the machines.
    """
    name = f"{wanted.name}-{each.name}"
    template = _machine_template(machines, each.machine_kind, name, each.machine_spec)
    bootstrap = _bootstrap_template(name, machines, each)
    selector = {"cluster.x-k8s.io/deployment-name": name}
    labels = {POOL_LABEL: each.name, "cluster.x-k8s.io/cluster-name": wanted.name, **selector}
    machine: Manifest = {
        "clusterName": wanted.name,
        "version": wanted.version,
        "bootstrap": {"configRef": _reference(bootstrap)},
        "infrastructureRef": _reference(template),
        "deletion": {"nodeDrainTimeoutSeconds": 600},
    }
    if each.failure_domain is not None:
        machine["failureDomain"] = each.failure_domain
    spec: Manifest = {
        "clusterName": wanted.name,
        "selector": {"matchLabels": selector},
        "rollout": {
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            }
        },
        "template": {"metadata": {"labels": {**labels, **each.labels}}, "spec": machine},
    }
    if each.replicas is not None:
        spec["replicas"] = each.replicas
    deployment = shapes.make(
        CORE,
        "MachineDeployment",
        name,
        {"spec": spec},
        namespace=NAMESPACE,
        labels={"cluster.x-k8s.io/cluster-name": wanted.name},
        annotations=_autoscaler_hints(each),
    )
    check = _health_check(wanted, name, selector, machines.remediation)
    return [template, bootstrap, deployment, check]


def control_plane_health_check(wanted: Cluster) -> Manifest:
    """Render the check of control-plane machines: one at a time, never over the provider's way."""
    labels = {"cluster.x-k8s.io/control-plane": ""}
    return _health_check(wanted, control_plane_name(wanted.name), labels, None)


def control_plane_name(cluster_name: str) -> str:
    """Name the control plane of a cluster, and its machines' prefix."""
    return f"{cluster_name}-control-plane"


def scheduler_configuration() -> Manifest:
    """Render the scheduler's configuration: fill a machine before the next one is used."""
    fit = {
        "scoringStrategy": {
            "type": "MostAllocated",
            "resources": [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1}],
        }
    }
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": "/etc/kubernetes/scheduler.conf"},
        "profiles": [
            {
                "schedulerName": "default-scheduler",
                "pluginConfig": [{"name": "NodeResourcesFit", "args": fit}],
            }
        ],
    }


def _cluster_configuration(patches: Mapping[str, Any]) -> Manifest:
    scheduler = {
        "extraArgs": shapes.pairs({"config": _SCHEDULER_CONFIG}),
        "extraVolumes": [
            {
                "name": "scheduler-config",
                "hostPath": _SCHEDULER_CONFIG,
                "mountPath": _SCHEDULER_CONFIG,
                "pathType": "File",
                "readOnly": True,
            }
        ],
    }
    server = {
        "kubelet-preferred-address-types": "InternalIP,Hostname,ExternalIP",
        "tls-cipher-suites": _CIPHERS,
        "default-not-ready-toleration-seconds": "45",
        "default-unreachable-toleration-seconds": "45",
        **patches.get("apiServer", {}),
    }
    made: Manifest = {
        "apiServer": {
            "extraArgs": shapes.pairs(server),
            "certSANs": ["localhost", "127.0.0.1", *patches.get("certSANs", ())],
        },
        "scheduler": scheduler,
    }
    if manager := patches.get("controllerManager"):
        made["controllerManager"] = {"extraArgs": shapes.pairs(manager)}
    return made


def _scheduler_file() -> dict[str, str]:
    return {
        "path": _SCHEDULER_CONFIG,
        "owner": "root:root",
        "permissions": "0644",
        "content": json.dumps(scheduler_configuration(), indent=2),
    }


def _machine_template(
    machines: Machines, kind: str, name: str, spec: Mapping[str, Any]
) -> Manifest:
    content = {"template": {"spec": dict(spec)}}
    return shapes.make(
        machines.machine_version,
        kind,
        shapes.versioned(name, content),
        {"spec": content},
        namespace=NAMESPACE,
    )


def _bootstrap_template(name: str, machines: Machines, each: Pool) -> Manifest:
    registration: Manifest = {"kubeletExtraArgs": shapes.pairs(_kubelet_args(machines, each))}
    if each.taints:
        registration["taints"] = [
            {"key": t.key, "value": t.value, "effect": t.effect} for t in each.taints
        ]
    config = {
        "joinConfiguration": {"nodeRegistration": registration},
        "files": [dict(file) for file in machines.files],
        "preKubeadmCommands": list(machines.commands),
    }
    content = {"template": {"spec": _without_empty(config)}}
    return shapes.make(
        BOOTSTRAP,
        "KubeadmConfigTemplate",
        shapes.versioned(name, content),
        {"spec": content},
        namespace=NAMESPACE,
    )


def _kubelet_args(machines: Machines, each: Pool) -> dict[str, str]:
    labels = ",".join(f"{key}={value}" for key, value in each.labels.items())
    return {**machines.kubelet_args, **({"node-labels": labels} if labels else {})}


def _autoscaler_hints(each: Pool) -> dict[str, str]:
    """Tell the autoscaler its bounds, and what a machine would be when there is none to look at."""
    if each.replicas is not None:
        return {}
    group = "cluster.x-k8s.io/cluster-api-autoscaler-node-group"
    hints = {f"{group}-min-size": str(each.least), f"{group}-max-size": str(each.most)}
    capacity = "capacity.cluster-autoscaler.kubernetes.io"
    if each.size is not None:
        hints[f"{capacity}/cpu"] = str(each.size.cpus)
        hints[f"{capacity}/memory"] = f"{each.size.memory_gib}Gi"
        hints[f"{capacity}/ephemeral-disk"] = f"{each.size.disk_gib}Gi"
    labels = ",".join(f"{key}={value}" for key, value in each.labels.items())
    if labels:
        hints[f"{capacity}/labels"] = labels
    if each.taints:
        hints[f"{capacity}/taints"] = ",".join(str(taint) for taint in each.taints)
    return hints


def _health_check(
    wanted: Cluster, name: str, labels: Mapping[str, str], template: Mapping[str, str] | None
) -> Manifest:
    conditions = [
        {"type": "Ready", "status": status, "timeoutSeconds": wanted.unhealthy_seconds}
        for status in ("Unknown", "False")
    ]
    spec: Manifest = {
        "clusterName": wanted.name,
        "selector": {"matchLabels": dict(labels)},
        "checks": {
            "nodeStartupTimeoutSeconds": STARTUP_SECONDS,
            "unhealthyNodeConditions": conditions,
        },
    }
    if template is not None:
        spec["remediation"] = {"templateRef": dict(template)}
    return shapes.make(CORE, "MachineHealthCheck", name, {"spec": spec}, namespace=NAMESPACE)


def _reference(manifest: Manifest) -> dict[str, str]:
    group, _, _ = manifest["apiVersion"].partition("/")
    return {"apiGroup": group, "kind": manifest["kind"], "name": manifest["metadata"]["name"]}


def _without_empty(content: Mapping[str, Any]) -> Manifest:
    return {key: value for key, value in content.items() if value}
