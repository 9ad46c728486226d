"""What the programs of `capd` and `caph` share: clusters that Cluster API makes, and above them the
same operator and Apps, by the same lines, as on the embedded stack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from bex_operator import api
from bex_stack import errors, settings
from bex_stack import settings_cluster_api as models
from components import (
    app_cluster,
    app_operator,
    app_set,
    autoscaler,
    infra_cluster,
    pins,
)
from components.manifests import charts, cluster_api, operator_pod, registries, shapes

PINNED_FOLDER = ".bex/pins"
"""Where `bex pins fetch` puts files, below the project."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """Both clusters, once they are described."""

    infra: infra_cluster.InfraCluster
    apps: app_cluster.AppCluster

    @property
    def on_apps(self) -> pulumi.ResourceOptions:
        """Options of what lives in the app cluster, after what furnishes it; gone with it."""
        return pulumi.ResourceOptions(
            provider=self.apps.kubernetes, depends_on=list(self.apps.furnished)
        )


@dataclass(frozen=True, slots=True)
class Platform:
    """What furnishes an app cluster before anything of ours comes."""

    charts: Sequence[charts.Chart]
    storage: Sequence[shapes.Manifest] = ()
    secrets: Sequence[shapes.Manifest] = ()
    load_balancer: str = ""


def lock_of(stack: models.CapdSettings | models.CaphSettings) -> pins.Lock:
    """Return the checksums; say in a preview, and refuse in an `up`, what is still open.

    Raises:
        errors.BadSettings: naming every key without a value and every pin without a checksum.
    """
    lock = pins.lock()
    open_ends = [f"{key} is not set" for key in stack.unfinished]
    unlocked = [name for name in lock.missing(stack.provider) if name not in stack.left_out]
    if unlocked:
        open_ends.append(
            f"{len(unlocked)} files and images from outside, like {unlocked[0]}, have no checksum "
            "yet: run `bex pins lock` where the internet is"
        )
    # The embedded engine manages none of these stacks; it says so, and what does, by itself.
    if open_ends and not pulumi.runtime.is_dry_run() and not settings.is_run_by_bex():
        raise errors.BadSettings("\n".join(open_ends))
    if open_ends:
        pulumi.log.warn("before an `up`: " + "; ".join(open_ends))
    return lock


def folder_of(stack: models.ClusterApiSettings) -> str:
    """Say where the pinned files lie: in the mirror, or below the project."""
    return stack.mirror[1] if stack.mirror else PINNED_FOLDER


def mirror_of(stack: models.ClusterApiSettings) -> str | None:
    """Name the registry that has every image (HOST:PORT), if there is one."""
    return stack.mirror[0] if stack.mirror else None


def on_docker(stack: models.ClusterApiSettings, reference: str) -> str:
    """Name an image that this host's Docker pulls: from the mirror, if there is one.

    Docker has no configuration of ours, so the name itself changes; machines' containerd has, and
    images of the clusters keep their names.
    """
    mirror, rest = mirror_of(stack), reference.partition("/")[2]
    return f"{mirror}/{rest}" if mirror else reference


def cluster_of(stack: models.ClusterApiSettings, kind: str) -> cluster_api.Cluster:
    """Describe the app cluster; *kind*: the provider's own cluster object's."""
    return cluster_api.Cluster(
        name=stack.cluster_name,
        version=stack.kubernetes_version,
        pod_network=stack.pod_network,
        service_network=stack.service_network,
        control_planes=stack.control_planes,
        infrastructure_kind=kind,
        unhealthy_seconds=stack.unhealthy_seconds,
    )


def infra_cluster_on(
    stack: models.CapdSettings | models.CaphSettings, kubeconfig: pulumi.Input[str] | None
) -> infra_cluster.InfraCluster:
    """Install Cluster API behind *kubeconfig*; with None, use the existing one."""
    made = kubeconfig is not None
    given = kubeconfig if made else Path(stack.infra_kubeconfig).expanduser().read_text()
    return infra_cluster.InfraCluster(
        "infra-cluster",
        infra_cluster.InfraClusterArgs(
            kubeconfig=given,  # type: ignore[arg-type]
            providers=infra_cluster.PROVIDERS[stack.provider] if made else (),
            folder=folder_of(stack),
        ),
    )


def clusters_of(
    stack: models.ClusterApiSettings,
    infra: infra_cluster.InfraCluster,
    overlay: Sequence[shapes.Manifest],
    platform: Platform,
) -> Clusters:
    """Describe the app cluster on the infra cluster."""
    apps = app_cluster.AppCluster(
        "app-cluster",
        app_cluster.AppClusterArgs(
            name=stack.cluster_name,
            infra_kubeconfig=infra.kubeconfig,
            infra=infra.kubernetes,
            overlay=overlay,
            secrets=platform.secrets,
            charts=platform.charts,
            storage=platform.storage,
            folder=folder_of(stack),
            load_balancer=platform.load_balancer,
            kubeconfig_file=stack.kubeconfig_file(pulumi.get_stack()),
        ),
    )
    return Clusters(infra, apps)


def app_layer(
    clusters: Clusters, pod: operator_pod.Pod, apps: Sequence[api.App], after: Sequence[Any]
) -> None:
    """Register the operator and the Apps: what is the same on every substrate."""
    options = clusters.on_apps
    operator = app_operator.AppOperator("operator", app_operator.AppOperatorArgs(pod=pod), options)
    ready = pulumi.ResourceOptions(depends_on=[*operator.objects, *operator.pods, *after])
    app_set.AppSet(
        "apps",
        app_set.AppSetArgs(apps, api.NAMESPACE),
        pulumi.ResourceOptions.merge(options, ready),
    )


def pod_of(
    image: Any, options: Mapping[str, str], *, on_control_plane: bool, replicas: int
) -> operator_pod.Pod:
    """Describe the operator's pods."""
    where: dict[str, Any] = {}
    if on_control_plane:
        where["node_selector"] = operator_pod.ON_CONTROL_PLANE
    return operator_pod.Pod(image=image, replicas=replicas, options=dict(options), **where)


def operator_options(
    public_url: str, domain: str, registry_url: str, *, issuer: str
) -> dict[str, str]:
    """Spell what the operator is told about the stack's edge and registry.

    The *issuer* is cert-manager's: who signs certificates of hosts; empty: there is none.
    """
    given = {
        "public-url": public_url,
        "registries": f"{registries.KNOWN_AS}={registry_url}",
        operator_pod.ISSUER_OPTION: issuer,
        "base-domain": domain,
    }
    return {name: value for name, value in given.items() if value}


def autoscaler_of(stack: models.ClusterApiSettings, clusters: Clusters, lock: pins.Lock) -> None:
    """Let machines follow the load, where the stack wants that."""
    if not stack.is_autoscaled:
        return
    autoscaler.Autoscaler(
        "autoscaler",
        autoscaler.AutoscalerArgs(
            cluster_name=stack.cluster_name,
            image=lock.reference(pins.AUTOSCALER),
            pause_image=lock.reference(pins.PAUSE),
            headroom_namespace="kube-system",
            infra=clusters.infra.kubernetes,
            apps=clusters.apps.kubernetes,
        ),
        pulumi.ResourceOptions(depends_on=list(clusters.apps.furnished)),
    )
