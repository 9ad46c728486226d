"""What the programs of `capd` and `caph` share: clusters that Cluster API makes, and above them the
same operator and Apps, by the same lines, as on the embedded stack."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
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
from components.dynamic import passwords, signing_keys
from components.manifests import (
    charts,
    cluster_api,
    cluster_builds,
    operator_pod,
    registries,
    shapes,
    zot,
)

LOGIN = "bex-registry-login"
"""Secret with what machines pull with, for whoever makes them."""
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


def lock_of(stack: models.CapdSettings | models.CaphSettings, apps: Sequence[api.App]) -> pins.Lock:
    """Return the checksums; say in a preview, and refuse in an `up`, what is still open.

    Raises:
        errors.BadSettings: naming keys without a value, apps that nothing builds, and pins
            without a checksum.
    """
    lock = pins.lock()
    open_ends = [f"{key} is not set" for key in stack.unfinished]
    wanting = sorted(app.name for app in apps if app.repo is not None)
    if wanting and not stack.builder_image:
        open_ends.append(
            f"App {wanting[0]!r} has a repository and bex:builderImage is not set: nothing builds "
            "it; `bex images builder` pushes what does and prints the settings"
        )
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


@dataclass(frozen=True, slots=True)
class RegistryKeys:
    """What lets people, machines and builds in at the stack's registry."""

    push: passwords.Password
    pull: passwords.Password
    signer: signing_keys.SigningKey

    @property
    def htpasswd(self) -> pulumi.Output[str]:
        """Who has a password."""
        return pulumi.Output.concat(self.push.htpasswd, self.pull.htpasswd)

    def login(self, registry_url: str) -> shapes.Manifest:
        """Render what machines pull with."""

        def write(text: str) -> pulumi.Output[str]:
            made = self.pull.password.apply(lambda word: text.format(basic=_basic(word)))
            return pulumi.Output.secret(made)

        return registries.login(LOGIN, cluster_api.NAMESPACE, registry_url, write)


def registry_keys() -> RegistryKeys:
    """Make them, once for a stack."""
    return RegistryKeys(
        push=passwords.Password("registry-password", user=zot.PUSHER),
        pull=passwords.Password("registry-machines", user=zot.PULLER),
        signer=signing_keys.SigningKey("registry-signer", purpose="registry"),
    )


def _basic(password: str) -> str:
    return base64.b64encode(f"{zot.PULLER}:{password}".encode()).decode()


def builds_of(
    stack: models.ClusterApiSettings,
    registry: str,
    *,
    node_selector: Mapping[str, str] = MappingProxyType({}),
    taint: str = "",
) -> cluster_builds.Builds | None:
    """Say how repositories are built; None where they are not."""
    if not stack.builder_image:
        return None
    return cluster_builds.Builds(
        stack.builder_image, stack.scanner_image, registry, node_selector, taint, stack.inner
    )


@dataclass(frozen=True, slots=True)
class Building:
    """What builds take beside the operator's pods."""

    told: cluster_builds.Builds
    key: pulumi.Output[str]
    """What tokens are signed with."""
    reached: Sequence[tuple[Any, int]] = ()
    """Further addresses (CIDR) and ports that builds reach."""

    @property
    def objects(self) -> list[shapes.Manifest]:
        """Render what the operator's pods mount, and what builds may reach."""
        peers = [*self.reached, *((each.network, each.port) for each in self.told.inner)]
        policies = [cluster_builds.network_policy(peers)] if peers else []
        return [cluster_builds.secret(self.told, self.key), *policies]

    def onto(self, pod: operator_pod.Pod) -> operator_pod.Pod:
        """Tell the operator's pods."""
        mount = operator_pod.Mount(self.told.secret_name, cluster_builds.FOLDER)
        options = {**pod.options, "builds": cluster_builds.FILE}
        return replace(pod, options=options, mounts=(*pod.mounts, mount))


def app_layer(
    clusters: Clusters,
    pod: operator_pod.Pod,
    apps: Sequence[api.App],
    after: Sequence[Any],
    building: Building | None = None,
) -> None:
    """Register the operator and the Apps: what is the same on every substrate."""
    options = clusters.on_apps
    needed: Sequence[shapes.Manifest] = ()
    if building is not None:
        pod, needed = building.onto(pod), building.objects
    operator = app_operator.AppOperator(
        "operator", app_operator.AppOperatorArgs(pod=pod, needed=needed), options
    )
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
