"""The program: settings in, components in order, outputs out."""

from collections.abc import Sequence
from pathlib import Path

import pulumi

from bex_operator import api
from bex_stack import settings, targets
from bex_stack import settings_models as models
from bex_stack.embedded import commands, overlay
from components import app_operator, app_set, edge


def deploy() -> None:
    """Describe the stack that is being run."""
    stack = settings.from_pulumi()
    apps = targets.choose_apps(
        Path(pulumi.get_root_directory()), stack.apps, source=f"Pulumi.{pulumi.get_stack()}.yaml"
    )
    if isinstance(stack, models.EmbeddedSettings):
        _deploy_embedded(stack, apps)
    elif stack.provider == "capd":
        from bex_stack import capd_program  # with Docker's package: the others do without

        capd_program.deploy(stack, apps)
    else:
        from bex_stack import caph_program  # with Hetzner's

        caph_program.deploy(stack, apps)


def _deploy_embedded(stack: models.EmbeddedSettings, apps: Sequence[api.App]) -> None:
    instance = stack.as_instance(settings.home())
    is_real = instance.kind == "real"
    has_builds = is_real and any(app.repo is not None for app in apps)
    root = Path(pulumi.get_root_directory())
    args = overlay.EmbeddedArgs(
        instance,
        stack.workers,
        has_operator_pod=stack.has_operator_pod,
        has_builds=has_builds,
        repositories=[root / folder for folder in stack.repositories if is_real],
        base_images=stack.base_images if is_real else (),
        buildpacks=stack.buildpacks,
    )
    cluster = overlay.EmbeddedCluster("app-cluster", args)
    # What lives on the host's share is gone with it: destroy stops it instead of emptying it first.
    on_host = pulumi.ResourceOptions(deleted_with=cluster.host)
    registry = overlay.EmbeddedRegistry("registry", args, on_host)
    in_cluster = pulumi.ResourceOptions.merge(
        on_host, pulumi.ResourceOptions(provider=_kubernetes(cluster))
    )
    operator = app_operator.AppOperator(
        "operator",
        app_operator.AppOperatorArgs(
            pod=overlay.operator_pod(args, registry),
            needed=overlay.operator_needs(args, cluster, registry),
            users=(commands.OPERATOR_USER,),
            edge_user=commands.EDGE_USER,
        ),
        in_cluster,
    )
    edge.Edge("edge", in_cluster)
    building = [] if registry.builder is None else [registry.builder]
    # An operator beside the cluster reads what comes with the builder; in a pod it has a Secret.
    first = [] if stack.has_operator_pod else building
    processes = overlay.EmbeddedProcesses(
        "platform", args, after(on_host, [*operator.objects, *first])
    )
    repositories = overlay.EmbeddedRepositories("git", args, after(on_host, [cluster.host]))
    app_set.AppSet(
        "apps",
        app_set.AppSetArgs(apps, api.NAMESPACE, [*building, *registry.bases, *repositories.served]),
        after(in_cluster, [*registry.images, *cluster.machines, *processes.started]),
    )
    pulumi.export("kubeconfig", pulumi.Output.secret(cluster.kubeconfig))
    pulumi.export("registry", registry.endpoint)
    pulumi.export("apps", {app.name: overlay.url(instance, app) for app in apps})


def after(
    options: pulumi.ResourceOptions, resources: Sequence[pulumi.Resource]
) -> pulumi.ResourceOptions:
    """Add to *options* that something comes after *resources*."""
    return pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=list(resources)))


def _kubernetes(cluster: overlay.EmbeddedCluster) -> pulumi.ProviderResource:
    import pulumi_kubernetes

    return pulumi_kubernetes.Provider(
        "app-cluster",
        kubeconfig=cluster.kubeconfig,
        opts=pulumi.ResourceOptions(depends_on=[cluster.control_plane]),
    )
