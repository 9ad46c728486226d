"""The program: settings in, components in order, outputs out."""

from collections.abc import Sequence
from pathlib import Path

import pulumi

from bex_operator import api
from bex_stack import settings, targets
from components import app_operator, app_set, edge

OPERATOR_USER = "bex-operator"
EDGE_USER = "bex-edge"


def deploy() -> None:
    """Describe the stack that is being run."""
    stack = settings.from_pulumi()
    apps = targets.choose_apps(
        Path(pulumi.get_root_directory()), stack.apps, source=f"Pulumi.{pulumi.get_stack()}.yaml"
    )
    _deploy_embedded(stack, apps)


def _deploy_embedded(stack: settings.EmbeddedSettings, apps: Sequence[api.App]) -> None:
    from bex_stack.embedded import overlay

    instance = stack.as_instance(settings.home())
    args = overlay.EmbeddedArgs(instance, stack.workers)
    cluster = overlay.EmbeddedCluster("app-cluster", args)
    registry = overlay.EmbeddedRegistry("registry", args)
    in_cluster = pulumi.ResourceOptions(
        provider=_kubernetes(cluster.kubeconfig), depends_on=[cluster.control_plane]
    )
    operator = app_operator.AppOperator(
        "operator", app_operator.AppOperatorArgs(OPERATOR_USER, EDGE_USER), in_cluster
    )
    edge.Edge("edge", in_cluster)
    processes = overlay.EmbeddedProcesses(
        "platform", args, pulumi.ResourceOptions(depends_on=operator.objects)
    )
    app_set.AppSet(
        "apps",
        app_set.AppSetArgs(apps, api.NAMESPACE),
        pulumi.ResourceOptions(
            provider=in_cluster.provider,
            depends_on=[*registry.images, *cluster.machines, *processes.started],
        ),
    )
    pulumi.export("kubeconfig", pulumi.Output.secret(cluster.kubeconfig))
    pulumi.export("registry", registry.endpoint)
    pulumi.export("apps", {app.name: overlay.url(instance, app) for app in apps})


def _kubernetes(kubeconfig: pulumi.Output[str]) -> pulumi.ProviderResource:
    import pulumi_kubernetes

    return pulumi_kubernetes.Provider("app-cluster", kubeconfig=kubeconfig)
